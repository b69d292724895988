"""
Which test shows what: each key and variable of the reference, and each promise about them.

A key of a feature to come has its place in `keys_to_come.py` instead; nothing may be in neither.
"""

from __future__ import annotations

import json
import re
from functools import cache
from pathlib import Path

import pytest
from keys_to_come import NOT_YET

ROOT = Path(__file__).parents[3]
REFERENCE = json.loads((ROOT / "tests/fixtures/config/reference.json").read_text())
LIVE = "tests/real/test_config_live.py::test_every_key_that_holds_at_once_changes_while_a_session_streams_without_a_hiccup"
EFFECTS = "tests/real/test_config_effects.py::"
IDLE = "tests/unit/test_idle_sessions.py::"
EAVS = "plugins/eavs/tests/test_eavs_hooks.py::"
POLICY = "plugins/sandbox/tests/test_sandbox_policy.py::"
NOT_BUILT = "tests/unit/config/test_config_not_yet.py::test_it_is_refused_by_name_until_then"

KEYS = {
    "logging.level": LIVE,
    "logging.file": LIVE,
    "logging.audit_enabled": f"{EFFECTS}test_without_auditing_there_is_no_file_and_with_it_each_sign_in_is_a_line",
    "logging.audit_file": f"{EFFECTS}test_without_auditing_there_is_no_file_and_with_it_each_sign_in_is_a_line",
    "server.max_upload_size_mb": "tests/real/test_upload_limit.py::test_a_body_over_the_limit_is_refused_by_its_length",
    "server.admin_socket_path": f"{EFFECTS}test_the_admin_socket_is_its_owners_alone_and_oqtoctl_needs_no_token",
    "runtime.parallelism": "tests/unit/test_parallelism.py::test_blocking_work",
    "runtime.timeout": f"{EFFECTS}test_an_operation_that_takes_too_long_is_given_up",
    "runtime.fail_fast": "tests/real/test_start_checks.py::test_without_fail_fast_all_is_told_and_what_works_works",
    "paths.data_dir": "tests/real/test_start_checks.py::test_what_a_server_cannot_be_without_ends_the_start_either_way",
    "paths.state_dir": "tests/real/test_start_checks.py::test_the_first_failing_check_ends_the_start_with_its_repair",
    "local.enabled": "tests/unit/config/test_config_older.py::test_agents_run_here_without_any_container_runtime",
    "local.workspace_dir": LIVE,
    "local.single_user": "tests/real/test_command.py::test_personal_mode_listens_on_loopback_only",
    "local.runner_socket_pattern": f"{EFFECTS}test_the_runner_of_the_pattern_is_the_one_that_works_under_its_name",
    "local.cleanup_on_startup": f"{EFFECTS}test_sessions_outlive_the_server_unless_their_end_is_asked_for",
    "local.stop_sessions_on_shutdown": f"{EFFECTS}test_sessions_outlive_the_server_unless_their_end_is_asked_for",
    "runner.runner_id": "runner/tests/test_runner_parts.py::test_a_runner_takes_its_name_from_its_settings",
    "eavs.enabled": f"{EAVS}test_switched_off_gives_no_reservation_and_still_settles",
    "eavs.base_url": f"{EAVS}test_a_new_address_replaces_the_running_process",
    "eavs.master_key": "plugins/eavs/tests/test_eavs_elsewhere.py::test_a_session_gets_a_key_there_and_nothing_is_started_here",
    "eavs.default_session_budget_usd": f"{EAVS}test_a_session_gets_a_wallet_a_key_and_the_demo",
    "eavs.default_session_rpm": f"{EAVS}test_a_session_has_the_calls_a_minute_of_the_configuration",
    "auth.dev_mode": f"{EFFECTS}test_in_production_cookies_are_for_tls_and_signed_with_the_secret_of_the_variable",
    "auth.jwt_secret": f"{EFFECTS}test_in_production_cookies_are_for_tls_and_signed_with_the_secret_of_the_variable",
    "auth.allowed_origins": LIVE,
    "sessions.auto_attach": "tests/e2e/test_settings_page.py::test_and_stays_at_home_where_that_is_switched_off",
    "sessions.auto_attach_scan": LIVE,
    "sessions.max_concurrent_sessions": LIVE,
    "sessions.idle_timeout_minutes": f"{IDLE}test_by_default_thirty_minutes_looked_at_every_five",
    "sessions.idle_check_interval_seconds": f"{IDLE}test_a_shorter_interval_looks_sooner",
}
SANDBOX = {
    "enabled": f"{POLICY}test_m2_a_workspace_cannot_switch_off",
    "profile": f"{POLICY}test_m22_an_unknown_profile_is_refused",
    "deny_read": f"{POLICY}test_top_level_keys_of_the_documented_file_work",
    "allow_write": f"{POLICY}test_m5_to_m9_allow_write_is_what_both_cover",
    "isolate_network": "tests/real/test_config_live.py::test_a_change_of_the_sandbox_is_for_the_next_session",
    "isolate_pid": f"{POLICY}test_m16_isolation_stays",
}
VARIABLES = {
    "OQTO_CONFIG": "tests/unit/config/test_config_places.py::test_the_flag_wins_over_the_variable_over_the_users_folder",
    "OQTO_SERVER_URL": f"{EFFECTS}test_oqtoctl_asks_the_server_of_the_variable_with_its_token",
    "OQTO_ADMIN_SOCKET": f"{EFFECTS}test_the_admin_socket_is_its_owners_alone_and_oqtoctl_needs_no_token",
    "OQTO_SESSION_ID": "runner/tests/test_runner_journey.py::test_the_agent_has_exactly_the_planned_environment",
    "OQTO_RUNNER_ID": f"{EFFECTS}test_the_runner_of_the_pattern_is_the_one_that_works_under_its_name",
    "OQTO_DATABASE_PATH": f"{EFFECTS}test_the_database_is_where_the_variable_says",
    "EAVS_API_KEY": "tests/real/test_pi_journey.py::test_the_virtual_key_is_in_no_file_and_no_command_line",
    "EAVS_MASTER_KEY": "plugins/eavs/tests/test_eavs_elsewhere.py::test_the_master_key_may_come_from_the_environment",
    "AUTH_JWT_SECRET": f"{EFFECTS}test_in_production_cookies_are_for_tls_and_signed_with_the_secret_of_the_variable",
    "RUST_LOG": "tests/unit/test_log_lines.py::test_the_environment_wins_over_the_level",
}
PROMISES = {
    1: "tests/real/test_config_live.py::test_the_example_of_the_reference_is_the_configuration_of_a_running_server",
    2: "tests/unit/config/test_config_reference.py::test_a_key_of_the_tables_has_their_type_and_default",
    3: "tests/unit/config/test_config_places.py::test_the_flag_wins_over_the_variable_over_the_users_folder",
    4: "tests/unit/config/test_config_mistakes.py::test_what_no_type_can_say_is_told_with_its_repair",
    5: "tests/unit/config/test_config_expansion.py::test_what_a_path_refers_to_is_put_in_its_place",
    6: LIVE,
    7: "tests/unit/config/test_config_older.py::test_the_socket_of_a_runner_is_found_by_its_pattern",
    8: "tests/unit/config/test_config_mistakes.py::test_a_mistake_is_told_with_file_section_key_and_what_would_be_right",
    9: "tests/unit/test_log_lines.py::test_the_log_file_gets_the_same_lines_and_is_private",
    # One record per action, not per request: reading leaves none.
    10: f"{EFFECTS}test_without_auditing_there_is_no_file_and_with_it_each_sign_in_is_a_line",
    # Files come over HTTP; the file server is to come.
    11: "tests/real/test_upload_limit.py::test_a_message_over_the_limit_is_refused_and_the_connection_lives",
    12: f"{EFFECTS}test_the_admin_socket_is_its_owners_alone_and_oqtoctl_needs_no_token",
    13: "tests/unit/test_parallelism.py::test_reading_the_database",
    14: NOT_BUILT,  # containers
    15: NOT_BUILT,
    16: NOT_BUILT,
    17: "tests/unit/config/test_config_older.py::test_agents_run_here_without_any_container_runtime",
    18: f"{EFFECTS}test_sessions_outlive_the_server_unless_their_end_is_asked_for",
    19: NOT_BUILT,  # a Linux user for each account
    # The folders of older conversations and of memories are to come.
    20: "runner/tests/test_runner_parts.py::test_a_runner_takes_its_name_from_its_settings",
    21: NOT_BUILT,  # the browser of sessions
    22: f"{EAVS}test_a_session_gets_a_wallet_a_key_and_the_demo",
    23: LIVE,
    24: "tests/red/test_front_door.py::test_what_other_sites_send_is_refused",
    25: f"{IDLE}test_by_default_thirty_minutes_looked_at_every_five",
    26: NOT_BUILT,  # templates
    27: NOT_BUILT,  # onboarding
    28: NOT_BUILT,  # feedback
    29: NOT_BUILT,  # scaffolding
    30: "plugins/sandbox/tests/test_sandbox_algebra.py::test_the_result_is_never_wider_than_any_input",
    31: f"{POLICY}test_a_custom_profile_inherits_strict_unless_it_says_otherwise",
    32: "tests/unit/config/test_config_proofs.py::test_every_variable_of_the_reference_has_its_proof",
    33: "tests/docs/test_deploy_files.py::test_systemd_accepts_the_units",
    34: "tests/docs/test_deploy_files.py::test_the_server_leaves_its_daemons_and_its_users_homes_alone",
    35: "runner/tests/test_runner_door.py::test_a_foreign_uid_is_refused_and_an_allowed_one_is_not",
    36: NOT_BUILT,  # making Linux users
    37: "tests/real/test_command.py::test_the_literal_command_serves_everything",
    38: "tests/unit/config/test_config_older.py::test_the_file_of_the_older_reference_is_taken_as_it_stands",
    39: "tests/docs/test_deploy_files.py::test_there_is_no_other_unit",
    40: "runner/tests/test_runner_door.py::test_without_a_sandbox_no_agent_starts_and_the_repair_is_named",
}
"""The forty promises that the reference and the units make, in the order in which they are made there."""


@cache
def names_in(file: str) -> set[str]:
    return set(re.findall(r"^\s*(?:async )?def (test_\w+)", (ROOT / file).read_text(), re.MULTILINE))


def test_every_key_of_the_tables_has_its_proof_or_waits_for_its_feature():
    keys = {f"{row['section']}.{row['key']}" for row in REFERENCE["keys"]}
    assert keys - set(NOT_YET) == set(KEYS)


def test_every_key_of_the_sandbox_has_its_proof():
    assert set(REFERENCE["sandbox"]) == set(SANDBOX)


def test_every_variable_of_the_reference_has_its_proof():
    assert {row["name"] for row in REFERENCE["variables"]} == set(VARIABLES)


def test_every_promise_has_its_proof():
    assert list(PROMISES) == list(range(1, 41))


@pytest.mark.parametrize(
    "proof", sorted({*KEYS.values(), *SANDBOX.values(), *VARIABLES.values(), *PROMISES.values()})
)
def test_the_proof_is_there(proof):
    file, _, name = proof.partition("::")
    assert name in names_in(file)
