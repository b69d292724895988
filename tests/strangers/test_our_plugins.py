"""Our own plugins have no private door: from their wheels they keep the contract that every plugin keeps."""

from __future__ import annotations

import pytest

pytestmark = pytest.mark.real


def test_they_pass_the_suite_as_a_stranger_would_run_it(tools_of_the_checkout, wheelhouse, tmp_path):
    members = [name.replace("-", "_") for name in tools_of_the_checkout.member_names()]
    ours = [wheel for wheel in sorted(wheelhouse.glob("*.whl")) if wheel.name.split("-")[0] in members]
    assert len(ours) == len(members)
    python = tools_of_the_checkout.empty_environment(tmp_path, *ours, tools_of_the_checkout.test_kit(ours))
    tools_of_the_checkout.keep_contracts(tmp_path, python)
