"""
The attack cases, each with the one test that answers for it and who tries it; others may try it, too.

A reading what is denied, B writing what is protected, C merge and configuration, D processes and privileges,
E network and sockets, F failing closed and the life of a sandbox.
"""

from __future__ import annotations

import ast
import re
from collections import Counter
from pathlib import Path

import pytest

HERE = Path(__file__).parent
ROOT = HERE.parents[2]
RED = "tests/red/test_one_door.py"

FUNCTIONS = (ast.FunctionDef, ast.AsyncFunctionDef)
AS_BOTH = {"account", "beside_root"}
WITHOUT_ACCOUNT = {"policy", "algebra", "egress", "cases", "RED"}

COUNTS = {"A": 22, "B": 26, "C": 14, "D": 24, "E": 22, "F": 12}

CASES = """
A01 reads both test_a01_a04_secrets_of_the_home_cannot_be_read
A02 reads both test_a02_a_mask_is_not_a_writable_folder
A04 reads both test_a01_a04_secrets_of_the_home_cannot_be_read
A05 reads both test_a01_a04_secrets_of_the_home_cannot_be_read
A07 reads both test_a07_a_denied_folder_that_the_host_makes_later_stays_absent
A08 reads both test_a08_a_denied_file_that_the_host_replaces_stays_hidden
A10 reads both test_a10_renaming_a_parent_does_not_move_a_secret_out
A11 reads both test_a11_a_linked_secret_is_hidden_under_both_names
A13 reads both test_a13_a_dangling_link_of_a_denied_name_stays_closed
A14 missing_names both test_a14_a_denied_file_with_a_second_name_is_reported
A16 reads both test_a16_a17_a_denied_file_of_the_workspace_is_neither_read_nor_committed_away
A17 reads both test_a16_a17_a_denied_file_of_the_workspace_is_neither_read_nor_committed_away
A19 reads both test_a19_moving_the_folder_of_a_denied_file_shows_it_in_no_session
A20 reads both test_a20_m25_write_protection_below_a_hidden_folder_does_not_show_it
A22 reads both test_a22_sessions_of_other_workspaces_cannot_be_read
A23 reads both test_a23_secrets_of_the_machine_are_hidden_even_from_root
A25 reads both test_a25_a26_the_environment_of_the_launcher_is_not_inside
A26 reads both test_a25_a26_the_environment_of_the_launcher_is_not_inside
A28 reads both test_a28_kernel_keys_cannot_be_reached
A29 reads both test_a29_shared_memory_of_the_host_is_not_shared
A31 reads both test_a31_no_core_dumps
A32 reads both test_a32_the_mount_table_names_paths_but_no_values
B02 writes both test_b02_b36_the_policy_cannot_be_replaced
B03 writes both test_b03_parents_of_the_workspace_cannot_be_moved
B05 writes both test_b05_an_editor_of_the_host_does_not_open_the_policy
B06 writes both test_b06_the_workspace_policy_cannot_be_replaced
B08 writes both test_b08_a_linked_policy_folder_is_refused
B09 policy_files both test_a_workspace_file_that_is_something_else_is_refused
B11 writes both test_b11_a_planted_link_makes_nothing_on_the_host
B12 outside both test_d20_b12_an_agent_of_root_is_nobody_special
B14 writes both test_b14_b15_b20_b21_git_runs_nothing_that_the_agent_wrote
B15 writes both test_b14_b15_b20_b21_git_runs_nothing_that_the_agent_wrote
B17 outside both test_b17_a_repository_that_the_agent_made_runs_nothing_on_the_host
B18 missing_names both test_b18_what_git_would_run_in_any_repository_below_is_told
B20 writes both test_b14_b15_b20_b21_git_runs_nothing_that_the_agent_wrote
B21 writes both test_b14_b15_b20_b21_git_runs_nothing_that_the_agent_wrote
B23 writes both test_b23_settings_that_other_programs_obey_are_read_only
B24 outside both test_b24_a_python_of_the_workspace_runs_inside_or_not_at_all
B26 writes both test_b26_b27_nothing_that_runs_later_can_be_planted
B27 writes both test_b26_b27_nothing_that_runs_later_can_be_planted
B29 writes both test_b29_b30_system_and_devices_are_read_only
B30 writes both test_b29_b30_system_and_devices_are_read_only
B32 writes both test_b32_what_was_checked_is_what_is_bound
B33 writes both test_b33_a_mount_that_the_host_makes_later_cannot_be_written
B35 writes both test_b35_a_read_only_workspace
B36 writes both test_b02_b36_the_policy_cannot_be_replaced
B38 writes both test_b38_a_read_only_file_cannot_be_mapped_for_writing
B39 processes both test_d31_d32_other_ways_into_the_kernel
C02 policy none test_m2_a_workspace_cannot_switch_off
C03 policy none test_m12_m13_m14_rights_in_a_workspace_are_refused
C05 policy none test_m21_a_misspelt_key_is_refused_with_the_nearest_one
C06 policy none test_a_custom_profile_inherits_strict_unless_it_says_otherwise
C08 policy none test_paths_that_could_mean_something_else_are_refused
C09 policy none test_domains_that_cover_too_much_or_nothing_are_refused
C11 policy_files both test_below_a_system_file_the_user_file_only_restricts
C12 policy_files both test_both_system_files_restrict
C14 outside both test_c14_a_workspace_in_a_folder_for_temporary_files_is_usable
C15 processes both test_c15_workspaces_with_difficult_names
C17 processes both test_c17_too_many_denials_are_refused_before_bubblewrap_counts
C18 RED none test_f14_c18_no_route_reads_or_writes_the_files_of_a_workspace
C20 processes both test_c20_no_variable_weakens_anything
C21 algebra none test_the_result_is_never_wider_than_any_input
D01 processes both test_d01_d02_only_its_own_processes
D02 processes both test_d01_d02_only_its_own_processes
D04 processes both test_d04_d05_nothing_outlives_the_session
D05 processes both test_d04_d05_nothing_outlives_the_session
D07 processes both test_d07_d08_no_namespaces_of_its_own
D08 processes both test_d07_d08_no_namespaces_of_its_own
D10 processes both test_d10_no_capabilities_and_no_new_ones
D11 processes both test_d11_setuid_programs_give_nothing
D13 processes both test_d13_d14_the_init_process_is_out_of_reach
D14 processes both test_d13_d14_the_init_process_is_out_of_reach
D16 processes both test_d16_only_three_descriptors
D17 outside both test_d17_nothing_is_loaded_into_the_launcher
D19 processes both test_d19_the_programs_that_confine_cannot_be_overwritten
D20 outside both test_d20_b12_an_agent_of_root_is_nobody_special
D22 processes both test_d22_d23_typing_into_the_terminal
D23 processes both test_d22_d23_typing_into_the_terminal
D25 process both test_d25_a_fork_bomb_meets_its_limit
D26 process both test_d26_memory_beyond_the_limit_ends_the_agent_with_its_cause
D28 processes both test_d28_limits_cannot_be_raised
D29 processes both test_d29_the_wall_clock_ends_a_session_and_says_so
D31 processes both test_d31_d32_other_ways_into_the_kernel
D32 processes both test_d31_d32_other_ways_into_the_kernel
D34 processes both test_d34_d35_debuggers_and_sandboxes_of_its_own_fail_in_words
D35 processes both test_d34_d35_debuggers_and_sandboxes_of_its_own_fail_in_words
E02 sockets both test_e02_e03_isolated_has_a_loopback_of_its_own_and_nothing_else
E03 sockets both test_e02_e03_isolated_has_a_loopback_of_its_own_and_nothing_else
E05 sockets both test_e05_families_that_reach_further
E06 sockets both test_e06_e08_e09_no_unix_sockets_in_strict
E08 sockets both test_e06_e08_e09_no_unix_sockets_in_strict
E09 sockets both test_e06_e08_e09_no_unix_sockets_in_strict
E11 sockets both test_e11_e33_buses_and_brokers_of_the_host_are_absent
E12 sockets both test_e12_abstract_sockets_of_the_host_are_out_of_reach
E14 sockets both test_e14_a_service_of_somebody_else_cannot_be_reached
E15 egress none test_e15_a_tunnel_carries_many_bytes_both_ways
E17 process both test_proxy_mode_end_to_end
E18 egress none test_e18_malformed_requests
E20 egress none test_e20_a_name_that_also_leads_inside_is_refused
E21 egress none test_e18_e21_names
E23 cases none test_e23_what_travels_inside_a_tunnel_is_a_documented_residue
E24 egress none test_e24_an_empty_list_denies_everything
E26 egress none test_e26_plain_http_is_judged_too_and_rewritten
E27 outside both test_e27_the_socket_of_the_proxy_asks_the_same_policy
E29 egress none test_e29_too_many_connections_are_turned_away_and_the_rest_goes_on
E30 sockets both test_e30_a_session_has_only_its_own_relay
E32 sockets both test_a_relay_whose_service_is_missing_is_refused
E33 sockets both test_e11_e33_buses_and_brokers_of_the_host_are_absent
F02 process both test_f02_without_user_namespaces_the_repair_is_named
F03 outside both test_f03_a_filter_of_the_administrator_that_cannot_be_loaded_refuses
F05 lifecycle both test_f05_a_mount_that_is_not_where_the_plan_says_stops_the_start
F06 outside both test_f06_without_the_policy_running_sessions_go_on_and_new_ones_are_refused
F08 missing_names both test_f08_no_session_leaves_anything_behind
F09 missing_names both test_f09_a_runner_that_starts_again_removes_what_nobody_holds
F11 missing_names both test_f11_where_a_name_cannot_be_kept_nothing_starts
F12 RED none test_f12_processes_are_started_in_known_places_only
F14 RED none test_f14_c18_no_route_reads_or_writes_the_files_of_a_workspace
F15 outside both test_f15_a_policy_that_changed_is_said_to_need_a_new_start
F17 lifecycle both test_f17_the_plan_stays_small
F18 toolchains both test_f18_git_clones_commits_branches_stashes_and_rebases
"""


def table() -> list[tuple[str, str, str, str]]:
    return [tuple(line.split()) for line in CASES.strip().splitlines()]


def functions(path: Path) -> dict[str, ast.FunctionDef]:
    return {node.name: node for node in ast.walk(ast.parse(path.read_text())) if isinstance(node, FUNCTIONS)}


def place_of(place: str) -> Path:
    return ROOT / RED if place == "RED" else HERE / f"test_sandbox_{place}.py"


def asked_for(name: str, known: dict[str, ast.FunctionDef]) -> set[str]:
    """The fixtures of a test, and theirs."""
    direct = {argument.arg for argument in known[name].args.args} if name in known else set()
    return direct.union(*(asked_for(other, known) for other in direct - {name}))


def test_every_case_is_answered_by_exactly_one_test():
    cases = [case for case, _, _, _ in table()]
    assert Counter(case[0] for case in cases) == COUNTS
    assert [case for case, count in Counter(cases).items() if count > 1] == []
    assert cases == sorted(cases)


@pytest.mark.parametrize("place", sorted({place for _, place, _, _ in table()}))
def test_every_case_is_tried_as_the_table_says(place):
    """`both`: once as root, once as an ordinary account. `none`: no process of an account takes part."""
    known = functions(HERE / "conftest.py") | functions(place_of(place))
    cases = [(case, who, test) for case, where, who, test in table() if where == place]
    assert [test for _, _, test in cases if test not in known] == []
    tried = {case: "both" if asked_for(test, known) & AS_BOTH else "none" for case, _, test in cases}
    assert tried == {case: who for case, who, _ in cases}


def test_every_vector_of_the_merge_is_named_by_a_test():
    names = [name for place in ("policy", "reads") for name in functions(place_of(place))]
    spans = [span for name in names for span in re.findall(r"_m(\d+)(?:_to_m(\d+))?", name)]
    assert {number for first, last in spans for number in range(int(first), int(last or first) + 1)} == set(
        range(1, 27)
    )


def test_only_these_cases_need_no_account():
    """Texts that are merged or parsed, the proxy's own protocol, and what the source code says."""
    assert {case[0] for case, _, who, _ in table() if who == "none"} == {"C", "E", "F"}
    assert [case for case, place, who, _ in table() if who == "none" and place not in WITHOUT_ACCOUNT] == []


def test_e23_what_travels_inside_a_tunnel_is_a_documented_residue():
    text = (ROOT / "SECURITY.md").read_text()
    assert "fronting" in text
    assert "an allowed host" in text
