"""
Keys of features that this version does not have: refused by name unless they say their default.

Whoever builds a feature takes `needs` from its keys; the expected failures below then turn into failures
until the lines are moved to tests of the feature.
"""

from __future__ import annotations

import json

import pytest
from keys_to_come import NOT_YET

from oqto_platform import config
from oqto_platform.config import keys
from oqto_platform.config.sections import CORE
from oqto_platform.errors import ConfigError
from oqto_platform.hooks import Hooks

KINDS = CORE | Hooks.load("core").register_all("register_config")
HOME = {"HOME": "/home/ada"}
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
