"""Programs that refuse or escape interception: a verdict is `held` only where all was seen."""

import os
import platform
import shutil
import subprocess
import sys
import tempfile
import textwrap
import time
from pathlib import Path

import pytest

from outlive_harness.results.verdicts import Verdict

PYTHON = sys.executable
NOBODY = 65534
#: One instruction: the filter allows all.
FILTER = """
import ctypes, struct
libc = ctypes.CDLL(None, use_errno=True)
class Program(ctypes.Structure):
    _fields_ = (("length", ctypes.c_ushort), ("filter", ctypes.c_char_p))
def seccomp(flags, *code):
    instructions = b"".join(struct.pack("=HBBI", *one) for one in code)
    return libc.syscall(SECCOMP, 1, flags, ctypes.byref(Program(len(code), instructions)))
ALLOW = (6, 0, 0, 0x7FFF0000)
""".replace("SECCOMP", "277" if platform.machine() == "aarch64" else "317")

needs_root = pytest.mark.skipif(os.getuid() != 0, reason="needs root")


def can(*command):
    """Return whether a command works here."""
    try:
        return subprocess.run(command, capture_output=True, check=False, timeout=10).returncode == 0
    except OSError:
        return False


needs_mounts = pytest.mark.skipif(
    not can("unshare", "-m", "true"), reason="needs the right to make a mount namespace (unshare -m)"
)


def names(seen):
    return [(op["kind"], op["path"]) for op in seen.ops]


@pytest.fixture
def judged(one, tmp_path):
    """Explore a Python program whose output is `o`, under kill; return the result of its scenario."""

    def run(code, *, command=None, **options):
        program = tmp_path / f"program_{len(list(tmp_path.glob('program_*')))}.py"
        program.write_text(code)
        command = command or [PYTHON, str(program)]
        return one(f'it = scenario(command={command!r}, outputs="o", timeout=20)', **options)

    return run


@pytest.fixture
def watched(observe):
    """As observe, by an unprivileged user."""
    with tempfile.TemporaryDirectory() as place:
        box = Path(place, "box")
        box.mkdir()
        for directory in (Path(place), box):
            directory.chmod(0o777)
        uid = {"uid": NOBODY} if os.getuid() == 0 else {}
        yield lambda *argv: observe(*argv, box=str(box), **uid)


def assert_held(result, ops):
    """All that the program did to its box was seen, and struck at."""
    assert (result.verdict, result.reason, result.warnings) == (Verdict.HELD, "", []), result
    assert result.ops == ops
    assert all(coverage.tested == coverage.points > 0 for coverage in result.faults.values())


def assert_unknown(result, *words):
    """It was not, and the reason says why."""
    assert result.verdict is Verdict.UNKNOWN, result
    assert not result.violations
    for word in words:
        assert word in result.reason


# -- what changes nothing ----------------------------------------------------------------------------

_INSTALL = """
import os
with open("t", "w") as f: f.write("x" * 100)
os.replace("t", "o")
"""
_NO_NEW_PRIVS = "import ctypes; assert ctypes.CDLL(None).prctl(38, 1, 0, 0, 0) == 0"
_CLOSES_ALL = "import os; os.closerange(0, 4096)"
_OWN_FILTER = FILTER + "assert seccomp(0, ALLOW) == 0"
_OWN_LISTENER = FILTER + "assert (seccomp(8, ALLOW), ctypes.get_errno()) == (-1, 16)  # EBUSY: ours is there"
_IO_URING = "import ctypes; assert ctypes.CDLL(None).syscall(425, 8, 0) == -1"
_IGNORES_SIGNALS = "import signal; [signal.signal(n, signal.SIG_IGN) for n in (1, 2, 3, 15)]"
_OWN_SESSION = "import os; os.fork() and os._exit(os.wait()[1]); os.setsid()"


@pytest.mark.parametrize(
    "first",
    [_NO_NEW_PRIVS, _CLOSES_ALL, _OWN_FILTER, _OWN_LISTENER, _IO_URING, _IGNORES_SIGNALS, _OWN_SESSION],
    ids=["no_new_privs", "closes_all", "filter", "listener", "io_uring", "signals", "session"],
)
def test_what_does_not_hide_an_op_changes_no_verdict(judged, first):
    """A filter beside ours, closed descriptors, a session of one's own: all is seen as before."""
    assert_held(judged(first + _INSTALL), 3)


def test_a_filter_of_its_own_that_fails_a_call_comes_before_ours(judged):
    """A call that another filter refuses never runs, so it is not an op."""
    audit_and_number = "(0x20, 0, 0, 0), (0x15, 0, 1, {}), (6, 0, 0, 0x00050001), ALLOW"
    mkdir = {"x86_64": "83", "aarch64": "34"}.get(platform.machine(), "83")
    code = f"""{FILTER}
import os
assert seccomp(0, {audit_and_number.format(mkdir)}) == 0
try:
    os.mkdir("d")
except PermissionError:
    {_INSTALL.strip().replace(chr(10), chr(10) + "    ")}
"""
    assert_held(judged(code), 3)


@pytest.mark.parametrize("spawn", ["os.waitpid(os.posix_spawn(a[0], a, os.environ), 0)", "subprocess.run(a)"])
def test_programs_started_by_vfork_are_struck_at(judged, spawn):
    """posix_spawn and subprocess suspend their parent, which shares its memory with the child."""
    code = f"import os, subprocess; a = ['/bin/sh', '-c', 'echo a > o; echo b >> o']; {spawn}"
    result = judged(code)
    assert {violation.kind for violation in result.violations} == {"torn-output"}
    assert result.ops == 4


@needs_root
def test_a_setuid_program_runs_without_its_privilege_and_is_seen(judged, tmp_path):
    """The filter needs no_new_privs, under which setuid bits do nothing: then nothing is hidden either."""
    program = Path(shutil.copy(shutil.which("id"), tmp_path / "id"))
    os.chown(program, NOBODY, NOBODY)
    program.chmod(0o4755)
    assert subprocess.check_output([program, "-u"], text=True) == f"{NOBODY}\n"
    script = f"{program} -u > t && grep -qx 0 t && mv t o"
    assert_held(judged("", command=["sh", "-c", script]), 3)


@pytest.mark.skipif(not can("strace", "-o", "/dev/null", "true"), reason="needs strace")
def test_a_program_that_is_traced_is_seen(judged):
    """A debugger between us and the program stops each call before our filter does."""
    command = ["strace", "-f", "-o", "/dev/null", "sh", "-c", "echo a > t; mv t o"]
    assert_held(judged("", command=command), 3)


@needs_mounts
@pytest.mark.parametrize("options", ["-m", "-mpf --mount-proc", "-Ur"])
def test_namespaces_in_which_paths_mean_the_same_change_no_verdict(judged, options):
    """A mount namespace of its own, or a user namespace, hides nothing by itself."""
    if not can("unshare", *options.split(), "true"):
        pytest.skip(f"unshare {options} is not allowed here")
    command = ["unshare", *options.split(), "sh", "-c", "echo a > t; mv t o"]
    assert_held(judged("", command=command), 3)


# -- what cannot be seen -----------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("code", "words"),
    [
        (_IO_URING.replace("== -1", ">= 0, 'io_uring_setup failed'"), ["fails with no fault", "io_uring"]),
        (FILTER + "assert seccomp(8, ALLOW) >= 0, 'no listener'", ["fails with no fault", "no listener"]),
        (FILTER + "seccomp(0, (6, 0, 0, 0x80000000)); open('o')", ["ended by signal 31"]),
        ("import os; open('o', 'w'); os.kill(0, 9)", ["ended by signal 9"]),
        (
            "import os; open('o', 'w'); os.rename(os.getcwd(), '../gone')",
            ["another file system", "--tmp same"],
        ),
    ],
    ids=["io_uring", "listener", "filter", "killed", "renamed"],
)
def test_a_program_that_cannot_run_here_is_unknown(judged, code, words):
    """What needs what is not to be had fails with no fault, and its own words say why."""
    assert_unknown(judged(code), *words)


def test_a_program_that_stops_itself_is_ended_in_time(one):
    """Nobody wakes it: that is a hang, and no verdict."""
    source = """
@scenario(timeout=1)
def stops():
    import signal
    Path("o").touch()
    os.kill(0, signal.SIGSTOP)
"""
    assert_unknown(one(source), "did not end within 1.")


#: int 0x80 with up to three arguments: push rbx; eax, ebx, ecx, edx = arguments; int 0x80; pop rbx; ret
_INT80 = """
import ctypes
libc = ctypes.CDLL(None)
libc.mmap.restype = ctypes.c_void_p
libc.mmap.argtypes = (ctypes.c_void_p, ctypes.c_size_t, *[ctypes.c_int] * 3, ctypes.c_long)
page = libc.mmap(None, 4096, 7, 0x62, -1, 0)  # below 4 GiB
assert page and page < 1 << 32
code = bytes.fromhex("53 89f8 89f3 4989c8 89d1 4489c2 cd80 5b c3")
ctypes.memmove(page, code, len(code))
call = ctypes.CFUNCTYPE(ctypes.c_int, *[ctypes.c_uint] * 4)(page)
"""


@pytest.mark.skipif(platform.machine() != "x86_64", reason="only x86-64 has 32-bit calls in any program")
def test_calls_of_32_bit_code_are_told_of(judged):
    """They are let through one by one, and not one of them is understood."""
    if not can(PYTHON, "-c", _INT80 + "import os; assert call(20, 0, 0, 0) == os.getpid()"):
        pytest.skip("this kernel has no 32-bit calls")
    write = (
        _INT80
        + """
text = ctypes.c_char_p(b"o")
ctypes.memmove(page + 2048, b"o\\0hello", 7)
fd = call(5, page + 2048, 0o101, 0o644)
assert call(4, fd, page + 2050, 5) == 5
assert open("o").read() == "hello"
"""
    )
    assert_unknown(judged(write), "32-bit")


@needs_root
@pytest.mark.parametrize(
    "where",
    ['"."', '"/proc/self/cwd"', '"../" + os.path.basename(os.getcwd())'],
)
def test_a_change_of_the_root_directory_is_told_of(judged, where):
    """After chroot(2) a path means another file, for the program alone."""
    code = f"import os; os.chroot({where}); open('/t', 'w').write('x' * 100); os.rename('/t', '/o')"
    assert_unknown(judged(code), "chroot", "not all recognised")


@needs_root
def test_a_change_of_the_root_directory_to_what_it_is_changes_no_verdict(judged):
    """Daemons do so by habit."""
    assert_held(judged('import os; os.chroot("/")' + _INSTALL), 3)


@needs_mounts
@pytest.mark.parametrize(
    ("mount", "path"),
    [("--bind a b", "b/o"), ("-t tmpfs none .", "o"), ("-t tmpfs none b", "b/o")],
    ids=["bind", "over the box", "in the box"],
)
def test_a_mount_in_the_box_is_told_of(one, mount, path):
    """A file may have another path there, and a path another file."""
    script = f"mkdir -p a b; echo a > a/o; mount {mount}; cd $PWD; echo b > {path}; echo c >> {path}"
    command = ["unshare", "-m", "sh", "-ec", script]
    assert_unknown(one(f'it = scenario(command={command!r}, outputs="a/o")'), "mount", "not all recognised")


@needs_mounts
def test_a_mount_elsewhere_changes_no_verdict(judged, tmp_path):
    """A program may have a /tmp of its own."""
    script = f"mount -t tmpfs none {tmp_path}; echo a > {tmp_path}/x; echo a > t; mv t o"
    result = judged("", command=["unshare", "-m", "sh", "-ec", script])
    assert (result.verdict, result.reason, result.ops) == (Verdict.HELD, "", 3)


def test_an_unprivileged_mount_over_the_box_is_told_of(watched):
    """In a user namespace of its own anybody may mount; whoever watches must notice."""
    seen = watched("unshare", "-Urm", "sh", "-ec", "mkdir o; mount -t tmpfs none o; echo a > o/x")
    if seen.code:
        pytest.skip(f"no user namespaces for anybody here: {seen.stderr}")
    assert [path for path, _ in seen.blind] == [""]


_HIDES = "import ctypes; assert ctypes.CDLL(None).prctl(4, 0, 0, 0, 0) == 0"  # PR_SET_DUMPABLE
_OPENS = "import os; fd = os.open('o', os.O_CREAT | os.O_WRONLY)"


@pytest.mark.parametrize(
    "then",
    ["os.write(fd, b'x')", "os.fsync(fd)", "os.ftruncate(fd, 5)", "os.mkdir('d')", "os.fchmod(fd, 0)"],
)
def test_a_program_that_hides_from_an_unprivileged_watcher_is_told_of(watched, then):
    """One that is not dumpable can be read by root alone: then the trace says that it missed something."""
    python = shutil.which("python3", path="/usr/bin:/bin")
    if python is None:
        pytest.skip("needs a python3 that anybody may run")
    seen = watched(python, "-c", f"{_OPENS}; {_HIDES}; {then}")
    assert (seen.code, len(seen.ops)) == (0, 1), seen.stderr
    assert "" in dict(seen.blind)


@needs_root
def test_root_sees_a_program_that_hides(observe):
    """It has the right to."""
    seen = observe(PYTHON, "-c", f"{_OPENS}; {_HIDES}; os.write(fd, b'x')")
    assert (names(seen), seen.blind) == ([("open", "o"), ("write", "o")], [])


@needs_root
def test_a_program_that_nobody_may_read_is_told_of(watched):
    """An executable without read permission runs as one that hides."""
    with tempfile.TemporaryDirectory() as place:
        Path(place).chmod(0o755)
        program = Path(shutil.copy(shutil.which("cp"), place))
        program.chmod(0o711)
        seen = watched(program, "/etc/hostname", "o")
    assert seen.code == 0, seen.stderr
    assert "" in dict(seen.blind)


def test_a_path_that_is_too_long_for_the_kernel_to_name_is_told_of(judged):
    """The working directory of a program cannot be known if its path is longer than 4096 bytes."""
    code = "import os\nfor _ in range(30): os.mkdir('d' * 200); os.chdir('d' * 200)\nopen('o', 'w')"
    assert_unknown(judged(code))


# -- daemons -----------------------------------------------------------------------------------------

_DAEMON = """
import os, sys, time
if os.fork(): os._exit(0)
os.setsid()
if os.fork(): os._exit(0)
os.closerange(0, 4096)
time.sleep(0.1)
"""


def test_a_daemon_that_writes_after_its_starter_is_gone_is_struck_at(judged):
    """The run lasts until nothing of it is left: an atomic output holds, one written in place is torn."""
    assert_held(judged(_DAEMON + _INSTALL), 3)
    torn = judged(_DAEMON + "f = open('o', 'w'); f.write('x' * 9); f.flush(); f.write('y')")
    assert {violation.kind for violation in torn.violations} == {"torn-output"}


def test_a_daemon_that_stays_is_killed_and_told_of(judged):
    """It gets a second after its starter has ended, and a warning says that it was cut off."""
    result = judged(_INSTALL + _DAEMON + "time.sleep(60); open('o', 'w')", points=1)
    assert result.verdict is Verdict.HELD
    assert result.warnings == ["it leaves processes running when it ends; they were killed"]


# -- names -------------------------------------------------------------------------------------------


def test_a_socket_is_a_name_that_is_made(one):
    """bind(2) makes a file; a server that finds it there after a crash cannot start."""
    source = """
@scenario(timeout=20, faults=("kill", "power"), expect="recovery-failed")
def server():
    import socket
    put("o", "x")
    socket.socket(socket.AF_UNIX).bind("s")
    os.unlink("s")
"""
    result = one(source, exhaustive=True)
    assert result.verdict is Verdict.HELD, result
    assert {violation.fault for violation in result.violations} == {"kill", "power"}
    assert all(coverage.tested == coverage.points for coverage in result.faults.values())


def test_an_abstract_socket_is_no_file(observe):
    """A name that begins with NUL, or is of another family, stands in no directory."""
    code = (
        "import socket; socket.socket(socket.AF_UNIX).bind('\\0x'); socket.socket(socket.AF_UNIX).bind('');"
        "socket.socket().bind(('127.0.0.1', 0)); socket.socket(socket.AF_UNIX).bind('s')"
    )
    assert names(observe(PYTHON, "-c", code)) == [("mknod", "s")]


def test_a_name_that_ends_as_the_kernel_names_what_is_gone_is_told_apart(observe):
    """A file named `x (deleted)` is not a deleted x."""
    code = """
import os
for name in ("x (deleted)", "y"):
    f = open(name, "w", buffering=1)
    f.write("a\\n")
    os.unlink(name)
    f.write("b\\n")
"""
    seen = names(observe(PYTHON, "-c", code))
    assert [path for _, path in seen] == ["x (deleted)"] * 4 + ["y"] * 4


def test_a_path_that_begins_at_a_descriptor_is_resolved_there(observe):
    """openat2(2) takes a directory for the root of an absolute path, where asked to."""
    code = """
import ctypes, os, struct
os.mkdir("d")
how = ctypes.create_string_buffer(struct.pack("=QQQ", os.O_CREAT | os.O_WRONLY, 0o644, 0x10))
assert ctypes.CDLL(None).syscall(437, os.open("d", os.O_RDONLY), b"/x", how, 24) >= 0
"""
    assert names(observe(PYTHON, "-c", code)) == [("mkdir", "d"), ("open", "d/x")]


TRACED = """
import os, subprocess, sys
TRACER = "import ctypes, os, sys, time; os.setsid()\\n" \
    "assert ctypes.CDLL(None).ptrace(0x4206, int(sys.argv[1]), 0, 0) == 0  # PTRACE_SEIZE\\n" \
    "print('seized', flush=True); os.close(1); time.sleep(60)"
tracer = subprocess.Popen([sys.executable, "-c", TRACER, str(os.getpid())], stdout=subprocess.PIPE)
assert tracer.stdout.readline()
for n in range(3):
    put(f"out/p{n}", "x")
tracer.kill()
tracer.wait()
"""


def test_a_process_that_traces_the_run_is_ended_with_it(one):
    """A tracer keeps a killed trial from its parent, a zygote's too, until it is ended itself."""
    source = f"@scenario(outputs='out/*', faults='kill')\ndef traced():\n{textwrap.indent(TRACED, '    ')}"
    begun = time.monotonic()
    result = one(source, points=4)
    assert result.verdict is Verdict.HELD, result
    assert result.zygote
    assert time.monotonic() - begun < 30  # the tracer sleeps for 60


def test_a_time_limit_is_kept_while_many_processes_make_ops(observe):
    """However many ops are waiting to be seen, a run ends when its time is up."""
    busy = "import os; open('a', 'w').close()\nfor _ in range(7): os.fork()\nwhile True: os.rename('a', 'a')"
    begun = time.monotonic()
    assert observe(sys.executable, "-c", busy, timeout=1).ended == "timeout"
    assert time.monotonic() - begun < 15


def test_a_path_with_slashes_too_many_is_the_same_path(observe, box):
    """What leads through the task's own directory under /proc is found however that is spelt."""
    writes = "import os; os.mkdir('/proc//self/./cwd/out'); open('//proc/self/cwd/out/a', 'w').close()"
    assert [op["path"] for op in observe(PYTHON, "-c", writes).ops] == ["out", "out/a"]
    assert (box / "out" / "a").exists()


def test_a_link_through_the_tasks_own_proc_leads_where_the_task_gets(observe):
    """/proc/self is whoever walks there: the task's working directory and descriptors are meant, not ours."""
    writes = """
import os
os.mkdir("out")
os.symlink("/proc/self/cwd/out", "here")
os.symlink("here/b", "last")
os.symlink("/dev/stdout", "log")
os.mkdir("here/a")
open("last", "w").close()
os.rename("last", "here/../c")
os.dup2(os.open("out/b", os.O_WRONLY), 1)
open("log", "a").close()
try:
    os.mkdir("here/none/a")
except FileNotFoundError:
    os.rmdir("here/a")
"""
    seen = observe(PYTHON, "-c", writes)
    expected = ["here", "last", "log", "out/a", "out/b", "last", "out/b", "out/b", "out/a"]
    assert [op["path"] for op in seen.ops] == ["out", *expected], seen.stderr
    assert seen.ops[6]["target"] == "c"
    assert not seen.blind


@pytest.mark.parametrize("request_", [0x4C00, 0x4C06, 0x4C0A])
def test_a_loop_device_on_a_file_of_the_box_is_told(observe, request_):
    """What is written through it is out of sight, so that it is asked for at all is enough."""
    code = """
import fcntl, os, struct, sys
fd = os.open("image", os.O_CREAT | os.O_RDWR)
request = int(sys.argv[1])
try:
    fcntl.ioctl(os.open("/dev/null", os.O_RDWR), request, struct.pack("i", fd) if request == 0x4C0A else fd)
except OSError:
    pass
"""
    seen = observe(PYTHON, "-c", code, request_)
    assert seen.blind == [["image", "writes to image through a loop device were not seen"]]


@needs_root
@pytest.mark.skipif(shutil.which("unshare") is None, reason="needs unshare(1)")
def test_what_a_task_may_see_and_we_may_not_is_told(observe):
    """Root of a namespace of its own goes where its user is closed out; who watches as that user does not."""
    script = "mkdir -p stage/sub; chmod 000 stage; mkdir stage/sub/a; chmod 700 stage"
    with tempfile.TemporaryDirectory(dir="/tmp") as place:  # not below a directory of this user's own
        Path(place).chmod(0o777)
        seen = observe("unshare", "-Ur", "sh", "-c", script, uid=65534, box=place)
        if "unshare:" in seen.stderr:
            pytest.skip(seen.stderr)
        assert any("Permission denied" in reason for _, reason in seen.blind), seen.blind
        assert not observe("sh", "-c", script, uid=65534, box=place).blind


@needs_root
def test_a_file_that_cannot_be_changed_is_removed_with_its_box(one):
    """A pipeline may make its output immutable (chattr +i); each trial has a box of its own all the same."""
    result = one(
        """
@scenario(outputs="out", faults="kill")
def fixed():
    import fcntl, struct
    put("out", "x") if not os.path.exists("out") else None
    with open("out") as f:
        fcntl.ioctl(f, 0x40086602, struct.pack("l", 0x10))
"""
    )
    assert result.verdict is Verdict.HELD, result
    assert result.ops > 1
