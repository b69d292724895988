"""Lock files hold for every machine: complete, hashed, and without the name of a host."""

from __future__ import annotations

import json
import re
import tomllib

import pytest
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name
from setup_steps import python

PACKAGE_LOCKS = ["tools/pi/package-lock.json", "frontend/package-lock.json"]


@pytest.fixture(params=["dev.txt", "node.txt", "prices.txt", "uv.txt"])
def requirements(checkout, request):
    return (checkout / "requirements" / request.param).read_text()


@pytest.fixture(params=PACKAGE_LOCKS)
def packages(checkout, request):
    return json.loads((checkout / request.param).read_text())["packages"]


def test_no_requirement_names_a_host_or_a_path(requirements):
    assert "://" not in requirements
    assert not re.search(r"^(-|\.|/)", requirements, re.MULTILINE)


def test_every_requirement_is_pinned_and_hashed(requirements):
    entries = re.split(r"\n(?=[a-z0-9])", requirements.strip())
    for entry in entries:
        assert re.match(r"[a-z0-9._-]+(\[[a-z,]+\])?==", entry), entry.splitlines()[0]
        assert "--hash=sha256:" in entry, entry.splitlines()[0]


def test_no_package_lock_says_where_a_package_comes_from(packages):
    assert [name for name, package in packages.items() if "resolved" in package] == []


def test_every_locked_package_has_its_hash(packages):
    assert [name for name, package in packages.items() if name and "integrity" not in package] == []


def test_packages_of_every_platform_are_locked(packages):
    """npm leaves out what its registry did not have, and refuses the lock file everywhere afterwards."""
    present = {name.rpartition("node_modules/")[2] for name in packages}
    wanted = {one for package in packages.values() for one in package.get("optionalDependencies", {})}
    assert wanted - present == set()


def test_the_lock_meets_what_the_workspace_asks_for(checkout):
    pins = dict(
        re.match(r"([a-z0-9._-]+)==([^\s;\\]+)", line).groups()
        for line in (checkout / "requirements" / "dev.txt").read_text().splitlines()
        if re.match(r"[a-z0-9]", line)
    )
    own = {canonicalize_name(name) for name in python.member_names()}
    for requirement in workspace_requirements():
        if canonicalize_name(requirement.name) not in own:
            pinned = pins.get(canonicalize_name(requirement.name), "nothing")
            assert requirement.specifier.contains(pinned), (
                f"{requirement} is locked as {pinned}: run make lock"
            )


def workspace_requirements():
    for member in python.members():
        described = tomllib.loads((member / "pyproject.toml").read_text())
        groups = described.get("dependency-groups", {}).values()
        for text in [
            *described["project"].get("dependencies", []),
            *(one for group in groups for one in group),
        ]:
            yield Requirement(text)


def test_pi_is_pinned_exactly(checkout):
    wanted = json.loads((checkout / "tools/pi/package.json").read_text())["dependencies"]
    assert all(re.fullmatch(r"\d+\.\d+\.\d+", version) for version in wanted.values())
