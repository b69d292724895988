"""
Keys of features that this version does not have: refused by name unless they say their default.

Whoever builds a feature takes `needs` from its keys; the expected failures below then turn into failures
until the lines are moved to tests of the feature.
"""

from __future__ import annotations

import json

import pytest

from oqto_platform import config
from oqto_platform.config import keys
from oqto_platform.config.sections import CORE
from oqto_platform.errors import ConfigError
from oqto_platform.hooks import Hooks

KINDS = CORE | Hooks.load("core").register_all("register_config")
HOME = {"HOME": "/home/ada"}
NOT_YET = {
    "agent_browser.binary": "other-browserd",
    "agent_browser.enabled": True,
    "agent_browser.executable_path": "/usr/bin/chromium",
    "agent_browser.extensions": ["/path/to/extension"],
    "agent_browser.headed": True,
    "agent_browser.stream_port_base": 31000,
    "agent_browser.stream_port_range": 100,
    "auth.oidc_audience": "my-app",
    "auth.oidc_issuer": "https://auth.example.com",
    "backend.mode": "container",
    "container.base_port": 42000,
    "container.binary": "/usr/local/bin/docker",
    "container.default_image": "mine:latest",
    "container.runtime": "podman",
    "container.skel_path": "/etc/skel",
    "eavs.container_url": "http://10.0.0.1:41800",
    "feedback.keep_public": False,
    "feedback.sync_interval_seconds": 30,
    "local.fileserver_binary": "oqto-files",
    "local.linux_users.create_home": False,
    "local.linux_users.enabled": True,
    "local.linux_users.group": "people",
    "local.linux_users.prefix": "ai_",
    "local.linux_users.shell": "/bin/sh",
    "local.linux_users.uid_start": 3000,
    "local.linux_users.use_sudo": False,
    "local.ttyd_binary": "/usr/bin/ttyd",
    "onboarding_templates.branch": "next",
    "onboarding_templates.subdirectory": "onboarding",
    "onboarding_templates.sync_enabled": False,
    "onboarding_templates.sync_interval_seconds": 60,
    "onboarding_templates.use_embedded_fallback": False,
    "runner.memories_dir": "~/memories",
    "runner.pi_sessions_dir": "~/pi-sessions",
    "scaffold.binary": "cookiecutter",
    "scaffold.description_arg": "--about",
    "scaffold.github_arg": "--gh",
    "scaffold.output_arg": "-o",
    "scaffold.private_arg": "--secret",
    "scaffold.subcommand": "create",
    "scaffold.template_arg": "-t",
    "templates.repo_path": "~/templates",
    "templates.sync_interval_seconds": 60,
    "templates.sync_on_list": False,
    "templates.type": "local",
}
BY_VALUE = {"backend.mode"}
"""Only one of the values is to come, so the key has no mark."""


def load(write, name):
    section, _, key = name.rpartition(".")
    return config.load(write(f"[{section}]\n{key} = {json.dumps(NOT_YET[name])}\n"), HOME, kinds=KINDS)


@pytest.mark.xfail(strict=True, raises=ConfigError, reason="the feature is not built")
@pytest.mark.parametrize("name", NOT_YET)
def test_a_key_of_a_feature_to_come_can_be_set(write, name):
    load(write, name)


@pytest.mark.parametrize("name", NOT_YET)
def test_it_is_refused_by_name_until_then(write, name):
    with pytest.raises(ConfigError) as refused:
        load(write, name)
    section, _, key = name.rpartition(".")
    assert f"[{section}] {key}: this version has no support for " in refused.value.detail


def test_these_are_all_of_them():
    assert {key.name for key in keys.of_all(KINDS) if key.needs} == set(NOT_YET) - BY_VALUE
