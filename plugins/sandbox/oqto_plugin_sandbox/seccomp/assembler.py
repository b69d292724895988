"""
A classic-BPF assembler for seccomp: instructions with labels in, `struct sock_filter[]` out.

Offsets follow `struct seccomp_data` (linux/seccomp.h): number at 0, architecture at 4, arguments from
16 in steps of 8. Only low words of arguments are compared: the kernel ignores the high half of an `int`
argument, so a 64-bit compare is stepped over by setting bit 32 (CVE-2019-10063).
"""

from __future__ import annotations

import struct
from typing import NamedTuple

LOAD, AND, RETURN = 0x20, 0x54, 0x06
JUMP_EQUAL, JUMP_AT_LEAST, JUMP_ANY_BIT = 0x15, 0x35, 0x45

ALLOW = 0x7FFF0000
LOG = 0x7FFC0000

OFFSET_NUMBER, OFFSET_ARCHITECTURE = 0, 4
MAX_INSTRUCTIONS = 4096
MAX_JUMP = 255


def errno_action(number: int) -> int:
    """SECCOMP_RET_ERRNO with that error."""
    return 0x00050000 | (number & 0xFFFF)


def low_word(argument: int) -> int:
    """The offset of the low 32 bits of an argument on a little-endian machine."""
    return 16 + 8 * argument


def high_word(argument: int) -> int:
    """The offset of the other 32 bits, for what is a pointer."""
    return low_word(argument) + 4


class Instruction(NamedTuple):
    """One instruction; a jump names its targets, the empty label means the next instruction."""

    code: int
    value: int
    if_true: str = ""
    if_false: str = ""


class Program:
    """Collects instructions and labels, then resolves the jumps."""

    def __init__(self) -> None:
        self._lines: list[Instruction] = []
        self._labels: dict[str, int] = {}

    def load(self, offset: int) -> None:
        self._lines.append(Instruction(LOAD, offset))

    def mask(self, bits: int) -> None:
        self._lines.append(Instruction(AND, bits))

    def jump(self, code: int, value: int, if_true: str = "", if_false: str = "") -> None:
        self._lines.append(Instruction(code, value, if_true, if_false))

    def answer(self, action: int) -> None:
        self._lines.append(Instruction(RETURN, action))

    def label(self, name: str) -> None:
        if name in self._labels:
            raise ValueError(f"label {name!r} is set twice")
        self._labels[name] = len(self._lines)

    def assemble(self) -> bytes:
        """The program as the kernel wants it. Raises `ValueError` for a jump that is backward or too far."""
        if len(self._lines) > MAX_INSTRUCTIONS:
            raise ValueError(f"{len(self._lines)} instructions, the kernel takes {MAX_INSTRUCTIONS}")
        return b"".join(self._encode(at, line) for at, line in enumerate(self._lines))

    def _encode(self, at: int, line: Instruction) -> bytes:
        hops = (self._hop(at, line.if_true), self._hop(at, line.if_false))
        return struct.pack("=HBBI", line.code, *hops, line.value & 0xFFFFFFFF)

    def _hop(self, at: int, label: str) -> int:
        if not label:
            return 0
        hop = self._labels[label] - at - 1
        if not 0 <= hop <= MAX_JUMP:
            raise ValueError(f"the jump to {label!r} is {hop} instructions long, the limit is {MAX_JUMP}")
        return hop
