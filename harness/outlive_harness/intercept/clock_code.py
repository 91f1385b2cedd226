"""Machine code that answers for the clock functions of the vDSO: see vdso.py for what becomes of it.

Each function is position-independent, keeps to the C calling convention, uses no stack, and reads values that
lie before it. The wall clock's readings come from there; for another clock the system call is made.
Sources: Intel SDM volume 2, Arm ARM (DDI 0487) C6, and each function's section 2 of the manual.
"""

from __future__ import annotations

import struct
from collections.abc import Callable, Sequence
from typing import NamedTuple

#: The clocks that show the wall clock's time: CLOCK_REALTIME, _COARSE and _ALARM; and CLOCK_TAI.
WALL = (0, 5, 8)
TAI = 11


class Readings(NamedTuple):
    """What the clock shows: seconds, nanoseconds and microseconds of the second, and seconds of CLOCK_TAI."""

    seconds: int
    nanoseconds: int
    microseconds: int
    tai: int


#: An instruction: its bytes, or a function that makes them from where it stands and where all labels are.
_Code = bytes | Callable[[int, dict[str, int]], bytes] | str


def _assemble(code: Sequence[_Code]) -> tuple[bytes, dict[str, int]]:
    """Return the bytes of a program, and its labels: texts in it name the place where they stand."""
    labels: dict[str, int] = {}
    done = b""
    for _ in range(2):  # labels further on are known the second time
        done = b""
        for one in code:
            if isinstance(one, str):
                labels[one] = len(done)
            else:
                done += one if isinstance(one, bytes) else one(len(done), labels)
    return done, labels


def _x86_short(opcode: int, label: str) -> _Code:
    """Jump by one byte."""
    return lambda at, labels: struct.pack("<Bb", opcode, labels.get(label, at) - at - 2)


def _x86_load(label: str) -> _Code:
    """Load rax from a label."""
    return lambda at, labels: b"\x48\x8b\x05" + struct.pack("<i", labels[label] - at - 7)


_JE, _JA, _JNC, _JMP = 0x74, 0x77, 0x73, 0xEB
#: endbr64: the landing pad of an indirect call.
_X86_LANDING = b"\xf3\x0f\x1e\xfa"
_X86 = (
    "clock_gettime", _X86_LANDING,
    b"\x83\xff\x0b", _x86_short(_JE, "tai"), _x86_short(_JA, "other"),      # cmp edi, TAI
    b"\xb8" + struct.pack("<I", sum(1 << clock for clock in WALL)),         # mov eax, ...
    b"\x0f\xa3\xf8", _x86_short(_JNC, "other"),                             # bt eax, edi
    _x86_load("seconds"),
    "store", b"\x48\x89\x06", _x86_load("nanoseconds"), b"\x48\x89\x46\x08",  # to [rsi], [rsi+8]
    b"\x31\xc0\xc3",                                                        # xor eax, eax; ret
    "tai", _x86_load("tai_seconds"), _x86_short(_JMP, "store"),
    "other", b"\xb8\xe4\x00\x00\x00\x0f\x05\xc3",                           # mov eax, 228; syscall; ret
    "gettimeofday", _X86_LANDING,
    b"\x48\x85\xff", _x86_short(_JE, "zone"),                               # test rdi, rdi
    _x86_load("seconds"), b"\x48\x89\x07", _x86_load("microseconds"), b"\x48\x89\x47\x08",
    "zone", b"\x48\x85\xf6", _x86_short(_JE, "done"),                       # test rsi, rsi
    b"\x48\xc7\x06\x00\x00\x00\x00",                                        # mov qword [rsi], 0
    "done", b"\x31\xc0\xc3",
    "time", _X86_LANDING, _x86_load("seconds"),
    b"\x48\x85\xff", _x86_short(_JE, "said"), b"\x48\x89\x07",              # test rdi, rdi; mov [rdi], rax
    "said", b"\xc3",
)  # fmt: skip


def _arm(word: int) -> bytes:
    return struct.pack("<I", word)


def _arm_to(word: int, label: str, shift: int = 5) -> _Code:
    """Put the distance of a label, in instructions, into an instruction: of 19 bits, or of 26 at shift 0."""
    mask = (1 << (26 if shift == 0 else 19)) - 1
    return lambda at, labels: _arm(word | ((labels.get(label, at) - at) // 4 & mask) << shift)


def _arm_load(register: int, label: str) -> _Code:
    return _arm_to(0x58000000 | register, label)  # ldr xN, label


_ARM_LANDING, _ARM_RET, _ARM_OK = _arm(0xD503245F), _arm(0xD65F03C0), _arm(0x52800000)  # bti c; mov w0, #0
_ARM64 = (
    "clock_gettime", _ARM_LANDING,
    *(part for clock in WALL for part in (
        _arm(0x7100001F | clock << 10), _arm_to(0x54000000, "wall"),        # cmp w0, #clock; b.eq wall
    )),
    _arm(0x7100001F | TAI << 10), _arm_to(0x54000000, "tai"),
    _arm(0xD2800E28), _arm(0xD4000001), _ARM_RET,                           # mov x8, #113; svc #0
    "wall", _arm_load(3, "seconds"),
    "store", _arm_load(4, "nanoseconds"), _arm(0xA9001023), _ARM_OK, _ARM_RET,  # stp x3, x4, [x1]
    "tai", _arm_load(3, "tai_seconds"), _arm_to(0x14000000, "store", 0),    # b store
    "gettimeofday", _ARM_LANDING, _arm_to(0xB4000000, "zone"),              # cbz x0, zone
    _arm_load(3, "seconds"), _arm_load(4, "microseconds"), _arm(0xA9001003),  # stp x3, x4, [x0]
    "zone", _arm_to(0xB4000001, "done"), _arm(0xF900003F),                  # cbz x1, done; str xzr, [x1]
    "done", _ARM_OK, _ARM_RET,
)  # fmt: skip


def _x86_entry(distance: int) -> bytes:
    return b"\xe9" + struct.pack("<i", distance - 5)  # jmp


def _arm_entry(distance: int) -> bytes:
    return _ARM_LANDING + _arm(0x14000000 | (distance - 4) // 4 & 0x3FFFFFF)  # b


class Machine(NamedTuple):
    """How the clock functions are replaced on one architecture.

    Attributes:
        code: the functions; the labels of their data are added.
        entry: returns what to write over a function's first bytes, given the distance to its replacement.
        prefixes: what stands before the name of a function in the vDSO.
    """

    code: Sequence[_Code]
    entry: Callable[[int], bytes]
    prefixes: tuple[str, ...]


MACHINES = {
    "x86_64": Machine(_X86, _x86_entry, ("__vdso_", "")),
    "aarch64": Machine(_ARM64, _arm_entry, ("__kernel_",)),
}


def functions(machine: Machine, shown: Readings) -> tuple[bytes, dict[str, int]]:
    """Return the replacement of all functions, and the offset of each: the values come first."""
    code: list[_Code] = []
    for name, value in zip(("seconds", "nanoseconds", "microseconds", "tai_seconds"), shown, strict=True):
        code += [name, struct.pack("<q", value)]
    return _assemble([*code, *machine.code])
