"""The clock functions of the vDSO, replaced in the memory of a task.

Programs read the wall clock without a system call: the kernel maps code into every process, the vDSO, which
libc, Go and others call. That mapping is private to the process and, to a debugger, writable. So the
functions are overwritten there, once after each exec, with some 150 bytes that return a value which lies
beside them. For other clocks they make the real system call. A fork inherits them.

Sources: vdso(7), elf(5), proc_pid_mem(5), ``Documentation/ABI/stable/vdso`` of Linux.
"""

from __future__ import annotations

import ctypes
import errno
import mmap
import platform
import struct
import sys
import time
from collections.abc import Callable, Sequence
from functools import cache
from typing import NamedTuple

from outlive_harness import abi

from .clock_code import MACHINES, TAI, Machine, Readings, functions
from .memory import read_memory, write_memory

_AT_SYSINFO_EHDR = 33
_SHT_DYNSYM = 11
#: Bytes of the ELF header, by which one kernel's images are told apart.
_HEADER = 64
_WORD = 8


class UnknownVdsoError(Exception):
    """The functions of a vDSO cannot be replaced; the message says why."""


@cache
def readings(instant: int) -> Readings:
    """Return what a clock shows that stands at an instant, in nanoseconds since 1970."""
    seconds, rest = divmod(instant, 10**9)
    try:
        ahead = round(time.clock_gettime(TAI) - time.clock_gettime(0))
    except OSError:  # not Linux
        ahead = 0
    return Readings(seconds, rest, rest // 1000, seconds + ahead)


# -- the image ---------------------------------------------------------------------------------------


class Patch(NamedTuple):
    """What to write into a vDSO.

    Attributes:
        header: the first bytes of the image that it is for.
        pieces: the bytes, by their offset in the image; the functions themselves come last.
    """

    header: bytes
    pieces: dict[int, bytes]


def patch_of(image: bytes, machine: Machine, shown: Readings) -> Patch:
    """Return the patch of a vDSO's image.

    Raises:
        UnknownVdsoError: it has none of the functions, or no room for their replacements.
    """
    found = _symbols(image)
    code, labels = functions(machine, shown)
    entries = {
        found[prefix + name][0]: labels[name]
        for name in ("clock_gettime", "gettimeofday", "time")
        for prefix in machine.prefixes
        if prefix + name in found and name in labels
    }
    if not entries:
        raise UnknownVdsoError("the vDSO of this kernel has no function that reads a clock")
    bodies = [found[name] for name in found if found[name][0] in entries]
    at = _room(image, bodies, len(code))
    pieces = {start: machine.entry(at + offset - start) for start, offset in entries.items()}
    return Patch(image[:_HEADER], pieces | {at: code})


def _room(image: bytes, bodies: Sequence[tuple[int, int]], length: int) -> int:
    """Return an offset with room for the replacements: in the longest function, or behind the image's end."""
    start, size = max(bodies, key=lambda body: body[1])
    at = start + 2 * _WORD
    if at + length <= start + size:
        return at
    end = len(image) - len(image) % _WORD
    used = len(image.rstrip(b"\0")) + 2 * _WORD
    if used + length > end:
        raise UnknownVdsoError("the vDSO of this kernel has no room for other clock functions")
    return end - length - length % _WORD


def _symbols(image: bytes) -> dict[str, tuple[int, int]]:
    """Return the functions of an ELF image by name: (offset, bytes); elf(5)."""
    try:
        (start,) = struct.unpack_from("<Q", image, 40)
        size, count, _ = struct.unpack_from("<HHH", image, 58)
        headers = [struct.unpack_from("<IIQQQQII", image, start + size * at) for at in range(count)]
        table = next(one for one in headers if one[1] == _SHT_DYNSYM)
        names = headers[table[6]][4]
        found = {}
        for at in range(table[4], table[4] + table[5], 24):
            name, _, _, section, value, length = struct.unpack_from("<IBBHQQ", image, at)
            if section and length:
                found[image[names + name : image.index(b"\0", names + name)].decode("ascii")] = value, length
    except (struct.error, StopIteration, IndexError, ValueError) as error:
        raise UnknownVdsoError("the vDSO of this kernel has no table of its functions") from error
    return found


def own_image() -> bytes:
    """Return this process's vDSO, which is that of every process here; b"" if there is none.

    Raises:
        OSError: /proc is not mounted.
    """
    with open("/proc/self/maps") as maps:
        for line in maps:
            if line.rstrip().endswith("[vdso]"):
                first, last = (int(address, 16) for address in line.split()[0].split("-"))
                return ctypes.string_at(first, last - first)
    return b""


@cache
def own_patch(instant: int) -> Patch | None:
    """Return the patch of this machine's vDSO; None if it has no vDSO, and so every reading is a call.

    Raises:
        UnknownVdsoError: it cannot be patched.
    """
    name = {"amd64": "x86_64", "arm64": "aarch64"}.get(platform.machine(), platform.machine())
    machine = MACHINES.get(name)
    if machine is None or abi.native() is None or sys.byteorder != "little":
        raise UnknownVdsoError(f"the vDSO of this machine, {platform.machine()}, is not known")
    image = own_image()
    return patch_of(image, machine, readings(instant)) if image else None


# -- a task ------------------------------------------------------------------------------------------


def lend(tid: int, instant: int, is_valid: Callable[[], bool] = lambda: True) -> None:
    """Replace the clock functions in the memory of a task that stands still, or waits in a system call.

    Nothing is done if they were replaced before.

    Args:
        tid: the task.
        instant: the time that they return, in nanoseconds since 1970.
        is_valid: returns whether the id is still that task's; asked after its memory was opened.

    Raises:
        UnknownVdsoError: this machine's, or this task's, vDSO cannot be patched.
        OSError: the task's memory cannot be written, or the task is gone.
    """
    patch = own_patch(instant)
    base = _base(tid)
    if patch is None or not base:
        return
    if read_memory(tid, base, _HEADER) != patch.header:
        raise UnknownVdsoError("a program has another vDSO than the harness")
    pieces = {base + offset: data for offset, data in patch.pieces.items()}
    *_, (address, last) = pieces.items()
    if read_memory(tid, address, len(last)) == last:
        return
    try:
        write_memory(tid, pieces, is_valid)
    except OSError as error:
        if error.errno == errno.EIO:
            why = "the kernel lets nobody change a vDSO (proc_mem.force_override)"
            raise UnknownVdsoError(why) from error
        raise


def _base(tid: int) -> int:
    """Return where a task's vDSO begins; 0 if it has none."""
    with open(f"/proc/{tid}/auxv", "rb", buffering=0) as file:
        auxv = file.read(mmap.PAGESIZE)
    words = memoryview(auxv[: len(auxv) // 16 * 16]).cast("Q")
    for at in range(0, len(words), 2):
        if words[at] == _AT_SYSINFO_EHDR:
            return words[at + 1]
    return 0
