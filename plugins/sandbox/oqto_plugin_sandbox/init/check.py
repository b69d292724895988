"""The self-check: what the kernel says about this sandbox, against what the plan says."""

from __future__ import annotations

from oqto_plugin_sandbox.init.kernel import fail, text_of


def unescape(field: str) -> str:
    r"""A path of mountinfo: space, tab, newline and backslash are written as `\ooo`."""
    parts = field.split("\\")
    return parts[0] + "".join(chr(int(part[:3], 8)) + part[3:] for part in parts[1:])


def mounted() -> dict[str, str]:
    """Mount point to `ro` or `rw`; of several mounts at one place the last is on top."""
    fields = (line.split(" ") for line in text_of("/proc/self/mountinfo").splitlines())
    return {unescape(field[4]): field[5].split(",")[0] for field in fields}


def check_mounts(wanted: list[tuple[str, str]]) -> None:
    """Every mount of the plan is where the plan says, no symlink led it elsewhere, and read-only is so."""
    found = mounted()
    for path, access in wanted:
        if path not in found:
            fail("self-check: nothing is mounted at " + path)
        if access == "ro" and found[path] != "ro":
            fail("self-check: " + path + " is writable")


def check_process(wanted: list[tuple[str, str]]) -> None:
    lines = dict(line.split(":\t", 1) for line in text_of("/proc/self/status").splitlines() if ":\t" in line)
    for name, value in wanted:
        if lines.get(name, "").strip() != value:
            fail("self-check: " + name + " is " + lines.get(name, "missing").strip() + ", not " + value)
