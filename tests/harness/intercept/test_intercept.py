"""Interception: every op of every thread and process of a run is seen, in any language."""

import os
import platform
import re
import shutil
import struct
import subprocess
import sys
import tempfile
from pathlib import Path

import pytest

from outlive_harness import abi
from outlive_harness.intercept import clock
from outlive_harness.intercept.filter import INTERCEPTED, LOOKS, program
from outlive_harness.intercept.supervisor import DONE, GO
from outlive_harness.intercept.versions import Versions
from outlive_harness.launch.run import _without_syncs
from outlive_harness.results.ops import Op

PYTHON = sys.executable


def names(seen):
    return [(op["kind"], op["path"]) for op in seen.ops]


@pytest.mark.parametrize(
    ("arch", "header"),
    [("x86_64", "x86_64-linux-gnu/asm/unistd_64.h"), ("aarch64", "asm-generic/unistd.h")],
)
def test_the_tables_agree_with_the_kernel_headers(arch, header):
    """A wrong number would let a call slip past unseen; the headers are the authority."""
    path = Path("/usr/include") / header
    if not path.exists():
        pytest.skip(f"{path} is not installed (linux-libc-dev)")
    pattern = re.compile(r"#define __NR(?:3264)?_(\w+)\s+(\d+)")
    official = {name: int(number) for name, number in pattern.findall(path.read_text())}
    known = {name: number for name, number in abi.ABIS[arch].numbers.items() if name in official}
    assert known == {name: official[name] for name in known}
    assert len(known) > 35


def test_every_call_of_one_table_that_the_other_has_is_in_both():
    """A call forgotten in one architecture would be unseen there only."""
    x86, arm = abi.ABIS["x86_64"].numbers, abi.ABIS["aarch64"].numbers
    assert set(arm) <= set(x86)
    only_x86 = set(x86) - set(arm)
    legacy = (
        "open creat rename mkdir rmdir link unlink symlink chmod chown lchown utime utimes futimesat mknod "
        "stat lstat access time arch_prctl"
    )
    assert only_x86 == set(legacy.split())


@pytest.mark.parametrize("arch", sorted(abi.ABIS))
def test_the_filter_is_well_formed_and_within_the_kernel_limit(arch):
    """Every jump lands inside the program and the kernel's limit of 4096 instructions is kept."""
    code = program(abi.ABIS[arch])
    insns = list(struct.iter_unpack("=HBBI", code))
    assert len(insns) < 4096
    for at, (op, jump_true, jump_false, _) in enumerate(insns):
        if op & 0x07 == 0x05:
            assert max(at + 1 + jump_true, at + 1 + jump_false) < len(insns)
    assert insns[-1][0] == 0x06


def _simulate(code, number, audit, args):
    """A small BPF interpreter: what the kernel would answer."""
    insns = list(struct.iter_unpack("=HBBI", code))
    data = struct.pack("=iIQ6Q", number, audit, 0, *args)
    at = word = 0
    while True:
        op, yes, no, k = insns[at]
        at += 1
        if op == 0x20:
            (word,) = struct.unpack_from("=I", data, k)
        elif op == 0x06:
            return k
        else:
            holds = {0x15: word == k, 0x35: word >= k, 0x45: bool(word & k)}[op]
            at += yes if holds else no


@pytest.mark.parametrize("arch", sorted(abi.ABIS))
def test_the_filter_decides_as_designed(arch):
    """Each call is stopped, let through or refused as its arguments demand, on either architecture."""
    table = abi.ABIS[arch]
    code = program(table)
    notify, allow = abi.SECCOMP_RET_USER_NOTIF, abi.SECCOMP_RET_ALLOW

    def verdict(name, *args):
        return _simulate(code, table.numbers[name], table.audit, [*args, 0, 0, 0, 0, 0, 0][:6])

    for name in INTERCEPTED:
        if name not in table.numbers or name in ("mmap", "mprotect", "pkey_mprotect", "ioctl"):
            continue
        assert verdict(name, 0, os.O_WRONLY, os.O_WRONLY) == notify, name
    at_cwd = abi.AT_FDCWD & (1 << 64) - 1
    assert verdict("openat", at_cwd, 0, os.O_RDONLY | os.O_CLOEXEC) == allow
    for flags in (os.O_WRONLY, os.O_RDWR, os.O_CREAT, os.O_TRUNC, abi.O_TMPFILE_BIT):
        assert verdict("openat", at_cwd, 0, flags) == notify
    assert verdict("mmap", 0, 0, 3, 2) == allow  # private
    assert verdict("mmap", 0, 0, 3, 0x21) == allow  # shared, anonymous
    assert verdict("mmap", 0, 0, 3, 1) == notify
    assert verdict("mmap", 0, 0, 3, 3) == notify  # MAP_SHARED_VALIDATE
    for name in ("mprotect", "pkey_mprotect"):
        assert verdict(name, 0, 4096, 1) == verdict(name, 0, 4096, 0) == verdict(name, 0, 4096, 5) == allow
        assert verdict(name, 0, 4096, 2) == verdict(name, 0, 4096, 3) == notify
    assert verdict("ioctl", 3, 0x5401) == allow
    for request in (abi.FICLONE, abi.FICLONERANGE, *abi.RESERVATIONS, *abi.UNKNOWN_CHANGES):
        assert verdict("ioctl", 3, request) == notify
    assert verdict("ioctl", 3, 0xC0709411) == allow  # asks btrfs for what its trees hold
    for name in ("io_uring_setup", "io_setup"):
        assert verdict(name) == abi.SECCOMP_RET_ERRNO | 38
    assert _simulate(code, 0 if arch == "x86_64" else 63, table.audit, [0] * 6) == allow  # read
    assert _simulate(code, 1, 0x40000003, [0] * 6) == notify  # a 32-bit task
    if table.foreign_from:
        assert _simulate(code, table.foreign_from, table.audit, [0] * 6) == notify


@pytest.mark.parametrize("arch", sorted(abi.ABIS))
def test_questions_stop_only_where_they_are_asked_for(arch):
    """There are thousands of them in a run, and they change nothing."""
    table = abi.ABIS[arch]
    known = [table.numbers[name] for name in LOOKS if name in table.numbers]
    assert len(known) == {"x86_64": 8, "aarch64": 5}[arch]
    for looks, answer in ((False, abi.SECCOMP_RET_ALLOW), (True, abi.SECCOMP_RET_USER_NOTIF)):
        code = program(table, looks=looks)
        assert {_simulate(code, number, table.audit, [0] * 6) for number in known} == {answer}


@pytest.mark.parametrize("arch", sorted(abi.ABIS))
def test_the_clock_is_stopped_only_where_it_is_lent(arch):
    """Readings of the wall clock stop, and waits until a moment of it; nothing else has to do with it."""
    table = abi.ABIS[arch]
    lent, plain = program(table, freezes=True), program(table)
    alone = program(table, files=False, freezes=True)
    notify, allow = abi.SECCOMP_RET_USER_NOTIF, abi.SECCOMP_RET_ALLOW
    until, pointer = clock.FUTEX_REALTIME, 1 << 32  # the low half of a pointer may be 0

    stopped = [
        ("gettimeofday",),
        ("time",),
        ("arch_prctl",),
        ("set_tid_address",),
        ("sched_getaffinity",),
        ("brk", 0),
    ]
    stopped += [("clock_gettime", one) for one in (0, 5, 8, 11)]
    stopped += [("clock_nanosleep", one, 1) for one in (0, 11)]
    stopped += [("futex", 0, op, 0, at) for op in (9 | until, 137 | until, 6, 134) for at in (8, pointer)]
    stopped += [("timerfd_settime", 3, 1), ("timerfd_settime", 3, 3), ("timer_settime", 0, 1)]
    stopped += [("mq_timedsend", 3, 8, 1, 0, pointer), ("futex_waitv", 8, 1, 0, 8, 0)]
    passed = [("brk", pointer), ("brk", 8)]
    passed += [("clock_gettime", one) for one in (1, 2, 4, 7, 0xFFFFFFFA)]
    passed += [("clock_nanosleep", 0, 0), ("clock_nanosleep", 1, 1), ("timerfd_settime", 3, 0)]
    passed += [("futex", 8, op, 0, at) for op, at in ((128, 8), (137, 8), (137 | until, 0), (6, 0), (1, 0))]
    passed += [("timer_settime", 0, 0), ("mq_timedreceive", 3, 8, 1, 0, 0), ("futex_wait", 8, 0, 0, 0, 8, 1)]
    for calls, answer in ((stopped, notify), (passed, allow)):
        for name, *args in calls:
            if name in table.numbers:
                call = table.numbers[name], table.audit, [*args, 0, 0, 0, 0, 0, 0][:6]
                assert _simulate(lent, *call) == _simulate(alone, *call) == answer, (name, args)
                assert _simulate(plain, *call) == allow
    assert _simulate(lent, table.numbers["write"], table.audit, [0] * 6) == notify
    assert _simulate(alone, table.numbers["write"], table.audit, [0] * 6) == allow


def test_each_call_is_decoded(observe):
    """Every kind of op arrives with its paths, resolved as the kernel resolves them."""
    seen = observe(
        PYTHON,
        "-c",
        """
import os
os.mkdir("d"); os.mkdir("d/e", 0o750)
fd = os.open("d/f", os.O_CREAT | os.O_RDWR, 0o640)
os.write(fd, b"hello"); os.pwrite(fd, b"J", 0); os.writev(fd, [b"a", b"bc"]); os.pwritev(fd, [b"x"], 3)
os.ftruncate(fd, 4); os.truncate("d/f", 3); os.fsync(fd); os.fdatasync(fd)
os.posix_fallocate(fd, 0, 10); os.fchmod(fd, 0o600); os.chmod("d/f", 0o644); os.utime("d/f")
os.setxattr("d/f", "user.k", b"v") if hasattr(os, "_never") else None
os.chown("d/f", -1, -1); os.fchown(fd, -1, -1)
os.link("d/f", "g"); os.symlink("d/f", "s"); os.rename("g", "d/g"); os.unlink("d/g")
there = os.open("d", os.O_RDONLY | os.O_DIRECTORY)
os.rename("f", "e/f", src_dir_fd=there, dst_dir_fd=there); os.fsync(there)
os.mkdir("h", dir_fd=there); os.rmdir("h", dir_fd=there)
os.chdir("d/e"); open("../../s2", "a").write("q"); os.mkfifo("p"); os.unlink("p")
with open("f", "rb") as a, open("copy", "wb") as b: os.sendfile(b.fileno(), a.fileno(), 0, 10)
os.sync()
""",
        data=True,
    )
    assert seen.code == 0, seen.stderr
    expected = [
        ("mkdir", "d"), ("mkdir", "d/e"), ("open", "d/f"), ("write", "d/f"), ("write", "d/f"),
        ("write", "d/f"), ("write", "d/f"), ("truncate", "d/f"), ("truncate", "d/f"), ("fsync", "d/f"),
        ("fdatasync", "d/f"), ("fallocate", "d/f"), ("chmod", "d/f"), ("chmod", "d/f"), ("utime", "d/f"),
        ("chown", "d/f"), ("chown", "d/f"), ("link", "d/f"), ("symlink", "s"), ("rename", "g"),
        ("unlink", "d/g"), ("rename", "d/f"), ("fsync", "d"), ("mkdir", "d/h"), ("rmdir", "d/h"),
        ("open", "s2"), ("write", "s2"), ("mknod", "d/e/p"), ("unlink", "d/e/p"), ("open", "d/e/copy"),
        ("copy", "d/e/copy"), ("sync", ""),
    ]  # fmt: skip
    assert names(seen) == expected
    writes = [(op["offset"], bytes.fromhex(op["data"])) for op in seen.ops if op["kind"] == "write"]
    assert writes == [(0, b"hello"), (0, b"J"), (5, b"abc"), (3, b"x"), (-1, b"q")]
    assert [op["target"] for op in seen.ops if op["kind"] in ("rename", "link", "symlink")] == [
        "g",
        "d/f",
        "d/g",
        "d/e/f",
    ]
    assert [oct(op["mode"]) for op in seen.ops if op["kind"] in ("mkdir", "open")][:3] == [
        "0o777",
        "0o750",
        "0o640",
    ]
    assert seen.number_of_ops == len(expected)


def test_reads_terminals_pipes_and_sockets_are_no_ops(observe, box):
    """Only what can change a file of the box counts."""
    (box / "in").write_text("x")
    seen = observe(
        PYTHON,
        "-c",
        "import os, socket; print(open('in').read()); r, w = os.pipe(); os.write(w, b'x');"
        "a, b = socket.socketpair(); os.write(a.fileno(), b'x'); open('/dev/null', 'w').write('x')",
    )
    assert seen.ops == []
    assert seen.outside == []
    assert seen.stdout == "x\n"


def test_a_write_outside_the_box_is_reported_once(observe, tmp_path):
    """Such a file is state that no crash state can hold."""
    other = tmp_path / "other"
    code = f"for _ in range(3):\n f = open({str(other)!r}, 'a'); f.write('x'); f.close()"
    seen = observe(PYTHON, "-c", code)
    assert seen.outside == [str(other)]
    assert seen.ops == []


_THREADS = """
import threading
for i in range(3):
    thread = threading.Thread(target=lambda: open(f"f{i}", "w").close())
    thread.start()
    thread.join()
"""
_FORK = """
import os
for i in range(3):
    if os.fork() == 0:
        open(f"f{i}", "w").close()
        os._exit(0)
    os.wait()
"""
_SUBPROCESS = """
import subprocess
for i in range(3):
    subprocess.run(["sh", "-c", f": > f{i}"], check=True)
"""
_POSIX_SPAWN = """
import os
for i in range(3):
    os.waitpid(os.posix_spawn("/bin/sh", ["sh", "-c", f": > f{i}"], os.environ), 0)
"""
_DAEMONS = """
import os
for i in range(3):
    if os.fork() == 0:
        os.setsid()
        if os.fork() == 0:
            open(f"f{i}", "w").close()
        os._exit(0)
    os.wait()
"""


@pytest.mark.parametrize(
    "code",
    [_THREADS, _FORK, _SUBPROCESS, _POSIX_SPAWN, _DAEMONS],
    ids=["threads", "fork", "subprocess", "posix_spawn", "daemons"],
)
def test_all_of_the_tree_is_seen(observe, code):
    """Threads, children, shells, spawned programs and daemons all pass through the supervisor."""
    seen = observe(PYTHON, "-c", code)
    assert sorted(names(seen)) == [("open", "f0"), ("open", "f1"), ("open", "f2")]
    assert seen.alive == []


@pytest.mark.skipif(not shutil.which("gcc"), reason="needs gcc to build a static program")
def test_a_statically_linked_program_is_seen(observe, tmp_path):
    """No preload is involved, so a program without a dynamic linker is seen like any other."""
    source = tmp_path / "p.c"
    source.write_text(
        "#include <stdio.h>\n"
        'int main(void){FILE*f=fopen("t","w");fputs("hi",f);fclose(f);return rename("t","o");}'
    )
    built = tmp_path / "p"
    subprocess.run(["gcc", "-static", "-o", built, source], check=True)
    seen = observe(built)
    assert names(seen) == [("open", "t"), ("write", "t"), ("rename", "t")]


def _elf(code, data):
    """Build a static x86-64 program of one segment: code, then data, at 0x400000."""
    header = struct.pack(
        "<16sHHIQQQIHHHHHH", b"\x7fELF\x02\x01\x01", 2, 62, 1, 0x400078, 64, 0, 0, 64, 56, 1, 0, 0, 0
    )
    size = 0x78 + len(code) + len(data)
    segment = struct.pack("<IIQQQQQQ", 1, 5, 0, 0x400000, 0x400000, size, size, 0x1000)
    return header + segment + code + data


@pytest.mark.skipif(platform.machine() != "x86_64", reason="the program is x86-64 machine code")
def test_a_program_without_any_library_is_seen(observe, tmp_path):
    """Machine code made by hand, no compiler and no libc: open, write, rename by bare system calls."""

    def call(number, *args):
        registers = [b"\xbf", b"\xbe", b"\xba"]  # mov edi/esi/edx, imm32
        loads = b"".join(reg + struct.pack("<I", arg) for reg, arg in zip(registers, args, strict=False))
        return loads + b"\xb8" + struct.pack("<I", number) + b"\x0f\x05"

    def assemble(at):
        code = call(2, at, os.O_CREAT | os.O_WRONLY, 0o644)  # open("t")
        code += (
            b"\x89\xc7"  # mov edi, eax: write to what was opened
            b"\xbe" + struct.pack("<I", at) + b"\xba\x02\0\0\0\xb8\x01\0\0\0\x0f\x05"
        )
        return code + call(82, at, at + 2) + call(60, 0)

    code = assemble(0x400078 + len(assemble(0)))
    program_path = tmp_path / "bare"
    program_path.write_bytes(_elf(code, b"t\0o\0"))
    program_path.chmod(0o755)
    seen = observe(program_path, data=True)
    assert seen.code == 0
    assert names(seen) == [("open", "t"), ("write", "t"), ("rename", "t")]
    assert seen.ops[1]["data"] == b"t\0".hex()


def test_asynchronous_submission_is_not_there(observe):
    """io_uring would change files behind the filter's back, so it fails as on a kernel without it."""
    code = (
        "import ctypes; libc = ctypes.CDLL(None, use_errno=True);"
        "print(libc.syscall(425, 1, 0), ctypes.get_errno())"
    )
    seen = observe(PYTHON, "-c", code)
    assert seen.stdout == "-1 38\n"


def test_a_shared_writable_mapping_is_reported_with_its_file(observe):
    """Stores through memory cannot be stopped at: the trace says which file they are about."""
    code = (
        "import mmap; f = open('m', 'w+b'); f.truncate(4096); m = mmap.mmap(f.fileno(), 4096); m[0] = 1;"
        "g = open('m', 'rb'); n = mmap.mmap(g.fileno(), 4096, prot=mmap.PROT_READ)"
    )
    seen = observe(PYTHON, "-c", code)
    assert [path for path, _ in seen.blind] == ["m"]


#: A file that is mapped to be read, by a descriptor that is open for writing.
MAPPED = """
import ctypes, mmap, os
libc = ctypes.CDLL(None, use_errno=True)
libc.mremap.restype = ctypes.c_void_p
fd = os.open("m", os.O_CREAT | os.O_RDWR)
os.truncate("m", 8192)
page = mmap.mmap(fd, 4096, prot=mmap.PROT_READ)
other = mmap.mmap(-1, 4096)
def at(of):  # without from_buffer(), which is for what can be written to
    maps = open("/proc/self/maps").read().splitlines()
    return next(int(line.split("-")[0], 16) for line in maps if line.endswith(of))
def protect(address, rights, call=lambda *args: libc.mprotect(*args)):
    return call(ctypes.c_void_p(address), ctypes.c_size_t(4096), rights)
"""
CHANGED = {
    "nothing": ("", []),
    "other memory": ("assert protect(ctypes.addressof(ctypes.c_char.from_buffer(other)), 3) == 0", []),
    "to be read again": ("assert protect(at('/m'), 1) == 0", []),
    "to be written to": ("assert protect(at('/m'), 3) == 0", ["m"]),
    "by a key": ("assert protect(at('/m'), 3, lambda *args: libc.syscall(329, *args, -1)) == 0", ["m"]),
    "where it was moved": (
        "m = libc.mremap(ctypes.c_void_p(at('/m')), *map(ctypes.c_size_t, (4096, 8192)), 1); protect(m, 3)",
        ["m"],
    ),
    "by a child": ("pid = os.fork()\nif not pid: os._exit(protect(at('/m'), 3))\nos.waitpid(pid, 0)", ["m"]),
    "under another name": ("os.rename('m', 'n')\nassert protect(at('/n'), 3) == 0", ["n"]),
    "without a name": ("os.unlink('m')\nassert protect(at('/m (deleted)'), 3) == 0", ["m"]),
    "by a map of its own": ("mmap.mmap(fd, 4096)", ["m"]),
}


@pytest.mark.parametrize("change", CHANGED)
def test_a_map_to_be_read_counts_from_when_it_can_be_written_to(observe, change):
    """Stores are unseen as soon as the protection allows them, by whatever call, wherever the memory lies."""
    code, blind = CHANGED[change]
    if change == "by a key" and platform.machine() != "x86_64":
        code = code.replace("329", "288")
    seen = observe(PYTHON, "-c", MAPPED + code)
    assert (seen.code, [path for path, _ in seen.blind]) == (0, blind), seen.stderr


def test_the_run_stands_still_before_the_op_it_crashes_at(observe, box):
    """Before op k means: ops 1 to k-1 happened, op k did not, and nothing is left alive."""
    code = "import os\nfor i in range(5): os.mkdir(f'd{i}')\nopen('end', 'w').close()"
    for k in range(1, 7):
        for path in box.iterdir():
            path.rmdir() if path.is_dir() else path.unlink()
        seen = observe(PYTHON, "-c", code, crash_at=k)
        assert seen.ended == "crashed"
        assert seen.code == -9
        assert seen.alive == []
        assert sorted(path.name for path in box.iterdir()) == [f"d{i}" for i in range(k - 1)]


def test_nothing_survives_a_crash(observe):
    """Daemons that left the session, ignore signals and fork on are all killed before we look."""
    code = """
import os, signal, time
for number in range(1, 20):
    try: signal.signal(number, signal.SIG_IGN)
    except OSError: pass
for i in range(3):
    if os.fork() == 0:
        os.setsid()
        if os.fork(): os._exit(0)
        while True: time.sleep(0.001)
time.sleep(0.05)
open("f", "w").close()
"""
    seen = observe(PYTHON, "-c", code, crash_at=1)
    assert seen.ended == "crashed"
    assert seen.alive == []


def test_processes_left_running_are_killed_and_told(observe):
    """A run is over when its program ends; what it leaves behind gets a second, not for ever."""
    seen = observe("sh", "-c", "sleep 300 & echo done")
    assert seen.ended == "exited"
    assert seen.lingering
    assert seen.alive == []


def test_a_run_that_does_not_end_is_killed_in_time(observe):
    """Time limits hold for programs that hang."""
    seen = observe("sh", "-c", "sleep 300", timeout=0.5)
    assert seen.ended == "timeout"
    assert seen.seconds < 60
    assert seen.alive == []


@pytest.mark.parametrize("plain", [True, False])
def test_a_time_limit_may_be_longer_than_a_poll(observe, plain):
    """A month of milliseconds is more than poll(2) takes."""
    assert observe("sh", "-c", ": > o", timeout=2_678_400, plain=plain).ended == "exited"


def test_output_of_any_size_does_not_block_or_fill_memory(observe):
    """The last 64 KiB of a stream are kept; a program that prints more is never stopped by a full pipe."""
    seen = observe(PYTHON, "-c", "import sys; sys.stdout.write('x' * 5_000_000 + 'end')")
    assert seen.code == 0
    assert seen.stdout.endswith("xend")
    assert len(seen.stdout) <= 64 * 1024


def test_a_command_that_does_not_exist_is_an_error_that_names_it(observe):
    """The child's failed exec is raised in the parent, with the command."""
    with pytest.raises(AssertionError, match=r"FileNotFoundError.*no-such-program-here"):
        observe("no-such-program-here")


@pytest.mark.skipif(os.getuid() != 0, reason="needs root to become another user")
def test_it_works_for_an_unprivileged_user(observe):
    """No root, no capability: interception needs neither."""
    with tempfile.TemporaryDirectory() as place:
        Path(place).chmod(0o777)
        seen = observe("sh", "-c", "echo x > f", uid=65534, box=place)
        assert seen.code == 0
        assert names(seen) == [("open", "f"), ("write", "f")]
        assert (Path(place) / "f").stat().st_uid == 65534


def test_a_refused_filter_is_told_exactly(observe):
    """Where the kernel or a container refuses seccomp, the error says which call and why."""
    seen = observe("true", refuse=True)
    number, text = seen.refused
    assert number == 1
    assert "seccomp" in text
    assert "not permitted" in text


def test_a_run_without_interception_can_be_killed_at_a_moment(observe):
    """What the timer fault does, and all that is left where interception is refused."""
    seen = observe("sh", "-c", "sleep 300", plain=True, kill_after=0.2)
    assert seen.ended == "crashed"
    assert seen.code == -9
    assert seen.alive == []


def test_what_only_makes_data_durable_need_not_run(observe, box):
    """A sync that is spared is said to have succeeded; one that could only fail is run all the same."""
    code = """
import os
def tried(fd):
    try:
        os.fsync(fd)
    except OSError as error:
        return error.errno
    return 0
os.mkfifo("pipe")
open("file", "w").close()
# By such a descriptor nothing can be synced (open(2), O_PATH).
print(tried(os.open("file", os.O_PATH)), tried(os.open("pipe", os.O_RDWR)), tried(os.open(".", os.O_RDONLY)))
"""
    for syncs in (True, False):
        seen = observe(PYTHON, "-c", code, syncs=syncs)
        assert seen.stdout.split() == ["9", "22", "0"]
        assert [op["kind"] for op in seen.ops].count("fsync") == 3
        (box / "pipe").unlink()
    spare = _without_syncs(lambda _op, _number: GO, box)
    assert spare(Op("fsync", "fsync", "file"), 1) is DONE
    assert spare(Op("fsync", "fsync", "file", flags=os.O_PATH), 2) is GO


def test_descriptors_are_followed_where_numbers_are_given_anew(observe):
    """What is kept of a task's descriptors for speed never stands for another file, task or program."""
    code = """
import os, sys
for n in range(3):
    fd = os.open(f"f{n}", os.O_CREAT | os.O_WRONLY)
    os.write(fd, b"x")
    os.rename(f"f{n}", f"g{n}")
    os.write(fd, b"x")
    os.unlink(f"g{n}")
    os.write(fd, b"x")
    os.close(fd)
for n in range(34):  # more than are kept
    if os.fork() == 0:
        fd = os.open(f"c{n}", os.O_CREAT | os.O_WRONLY)
        os.write(fd, b"x")
        os.dup2(os.open("last", os.O_CREAT | os.O_WRONLY), fd, inheritable=True)
        os.execv(sys.executable, [sys.executable, "-c", f"import os; os.write({fd}, b'x')"])
    os.wait()
"""
    seen = observe(PYTHON, "-c", code, places=False)
    written = [op["path"] for op in seen.ops if op["kind"] == "write"]
    assert written[:9] == [name for n in range(3) for name in (f"f{n}", f"g{n}", f"g{n}")]
    assert written[9:] == [name for n in range(34) for name in (f"c{n}", "last")]


def test_a_write_to_a_named_pipe_of_the_box_is_no_op(observe):
    """What goes through a pipe changes no file, wherever the pipe has its name."""
    code = """
import os
os.mkfifo("p")
fd = os.open("p", os.O_RDWR)
os.write(fd, b"hello"); os.writev(fd, [b"a", b"b"])
os.rename("p", "q"); os.write(fd, b"hello")
with open("f", "wb") as f:
    f.write(b"x")
    f.flush()
    os.sendfile(fd, os.open("f", os.O_RDONLY), 0, 1)
"""
    for places in (True, False):
        seen = observe(PYTHON, "-c", code + "os.unlink('q')", places=places)
        assert seen.code == 0, seen.stderr
        assert [name for name in names(seen) if name[0] in ("write", "copy")] == [("write", "f")]


def test_holes_that_are_punched_by_ioctl_are_seen(observe, box):
    """FS_IOC_UNRESVSP and its like are fallocate(2) by another name; unknown requests are reported."""
    (box / "f").write_bytes(b"x" * 9000)
    code = """
import fcntl, os, struct
fd = os.open("f", os.O_RDWR)
os.lseek(fd, 1000, os.SEEK_SET)
def ask(request, whence, start, length):
    try:
        fcntl.ioctl(fd, request, struct.pack("=hhxxxxqqiI4i", 0, whence, start, length, *[0] * 6))
    except OSError:
        pass
ask(0x4030582B, 0, 0, 4096); ask(0x40305828, 1, 24, 8); ask(0x4030582A, 2, -10, 10); ask(0x40305839, 3, 0, 1)
"""
    for data in (False, True):
        seen = observe(PYTHON, "-c", code, data=data)
        assert seen.code == 0, seen.stderr
        found = [(op["kind"], op["flags"], op["offset"], op["length"]) for op in seen.ops[1:]]
        assert found == [("fallocate", 3, 0, 4096), ("fallocate", 1, 1024, 8), ("fallocate", 1, 8990, 10)]
        assert seen.blind == []
    seen = observe(PYTHON, "-c", code + "ask(0x6611, 0, 0, 0)")
    assert [(path, "ioctl 0x6611" in reason) for path, reason in seen.blind] == [("", True)]


_CALLS = """
import ctypes, mmap, os
libc = ctypes.CDLL(None, use_errno=True)
page = mmap.mmap(-1, 8192)
at = ctypes.addressof(ctypes.c_char.from_buffer(page))
libc.munmap(ctypes.c_void_p(at + 4096), ctypes.c_size_t(4096))
def call(*args):
    print(libc.syscall(*(ctypes.c_long(arg) for arg in args)), ctypes.get_errno(), flush=True)
"""


def test_calls_that_can_only_fail_are_no_ops(observe):
    """No such number, no such memory, a structure too short: the kernel refuses, and so all was seen."""
    code = (
        _CALLS
        + """
call(-1)
call(437, -100, at, at + 4096 - 12, 12)
call(437, -100, at, at + 4096 - 12, 24)
call(437, -1, at, 0, 0)
call(437, -1, at, 0, 24)
call(1, 1, 0, 1) if os.uname().machine == "x86_64" else print(-1, 14)
os.mkdir("d")
os._exit(0)
"""
    )
    seen = observe(PYTHON, "-c", code)
    assert names(seen) == [("mkdir", "d")]
    assert seen.blind == []
    assert [line.split()[0] for line in seen.stdout.splitlines()] == ["-1"] * 6


def test_a_file_that_is_only_read_by_handle_changes_nothing(observe):
    """open_by_handle_at(2) hides a path only where it opens for writing."""
    number = 265 if platform.machine() == "aarch64" else 304
    for flags, several in ((os.O_RDONLY, []), (os.O_WRONLY, [""])):
        code = f"import ctypes; ctypes.CDLL(None).syscall({number}, 0, b'x' * 200, {flags})"
        seen = observe(PYTHON, "-c", code, reads=True)
        assert [path for path, _ in seen.blind] == several


@pytest.mark.skipif(not os.access("/dev/shm", os.W_OK), reason="needs /dev/shm")
def test_files_in_shared_memory_are_files(observe):
    """What is left in /dev/shm is state outside the box; a semaphore that is gone at the end is not."""
    left, gone = (f"/dev/shm/outlive-test-{os.getpid()}-{name}" for name in ("left", "gone"))
    code = f"import os; open({left!r}, 'w').close(); open({gone!r}, 'w').close(); os.unlink({gone!r})"
    try:
        seen = observe(PYTHON, "-c", code)
    finally:
        Path(left).unlink()
    assert seen.outside == [left]


def test_a_sync_says_through_what_descriptor_it_goes(observe):
    """One by O_PATH is known to fail, so it makes nothing durable."""
    code = """
import os
for flags in (os.O_RDONLY, os.O_PATH):
    try:
        os.fsync(os.open(".", flags))
    except OSError:
        pass
"""
    for data in (False, True):
        seen = observe(PYTHON, "-c", code, data=data)
        assert [bool(op["flags"] & os.O_PATH) for op in seen.ops] == [False, True]
        assert seen.fails == ([0, 9] if data else [None, None])


def test_what_is_moved_away_was_whole_where_it_was(tmp_path):
    """A closed file that is renamed is a version of both paths."""
    (tmp_path / "o").write_text("x")
    versions = Versions(tmp_path, lambda path: path in ("o", "old"))
    versions.before(Op("rename", "rename", "o", "old"))
    assert versions.known["o"] == versions.known["old"] != set()
    assert versions.installed == {"old"}
