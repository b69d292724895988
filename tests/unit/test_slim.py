"""What a process gives back when its start is over."""

from __future__ import annotations

import subprocess
import sys

import pytest

from oqto_platform.slim import as_their_files

MAPPING = "{addresses} {rights} 00001000 fe:00 42    {name}\nSize:   8 kB\nAnonymous:             {written} kB\nVmFlags: rd\n"


def mapping(
    addresses: str, *, rights: str = "r-xp", name: str = "/usr/lib/lib some.so", written: int = 0
) -> str:
    return MAPPING.format(addresses=addresses, rights=rights, name=name, written=written)


def test_code_and_constants_are_as_their_files():
    smaps = mapping("1000-3000") + mapping("3000-4000", rights="r--p")
    assert list(as_their_files(smaps)) == [(0x1000, 0x3000), (0x3000, 0x4000)]


@pytest.mark.parametrize(
    "other",
    [
        mapping("1000-3000", written=4),
        mapping("1000-3000", rights="rw-p"),
        mapping("1000-3000", rights="rwxp"),
        mapping("1000-3000", rights="r--s"),
        mapping("1000-3000", name=""),
        mapping("1000-3000", name="[vdso]"),
    ],
)
def test_what_was_written_to_or_may_be_is_kept(other):
    assert list(as_their_files(other)) == []
    assert list(as_their_files(other + mapping("8000-9000") + other)) == [(0x8000, 0x9000)]


@pytest.mark.skipif(sys.platform != "linux", reason="reads /proc")
def test_rest_lets_go_of_code_and_everything_still_works():
    program = (
        "import re, ssl, sqlite3, ctypes, msgspec, pydantic, uvloop\n"
        "from oqto_platform.slim import rest\n"
        "def crypto(): return sum(int(kb) for kb in re.findall(r'r-xp.*libcrypto.*\\n.*\\n.*\\n.*\\nRss: +(\\d+)', open('/proc/self/smaps').read()))\n"
        "ssl.create_default_context(); before = crypto(); rest(); after = crypto()\n"
        "assert after < before or not before, (before, after)\n"
        "ssl.create_default_context(); assert sqlite3.connect(':memory:').execute('select 1').fetchone() == (1,)\n"
        "class M(pydantic.BaseModel): x: int\n"
        "async def main(): return M(x=1).x\n"
        "assert uvloop.run(main()) == 1 and msgspec.json.decode(b'[1]') == [1]"
    )
    subprocess.run([sys.executable, "-c", program], check=True)
