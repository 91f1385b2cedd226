"""The clock on loan: it stands still in every language, costs no op, and everything else runs on."""

import os
import platform
import shutil
import struct
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import pytest

from outlive_harness.intercept import vdso
from outlive_harness.intercept.clock_code import MACHINES, Readings, functions
from outlive_harness.results.instants import DEFAULT, SECOND, nanoseconds

PYTHON = sys.executable
INSTANT = nanoseconds(DEFAULT)
SECONDS = str(INSTANT // SECOND)
RUSTC = shutil.which("rustc", path=f"{os.environ.get('PATH', '')}:{Path.home()}/.cargo/bin")

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="a clock is lent on Linux only")


@pytest.fixture(scope="module")
def built(tmp_path_factory):
    """Compile a program; return its path, or skip the test if the compiler is not here."""
    place = tmp_path_factory.mktemp("programs")

    def build(name, source, compiler, *options):
        if compiler is None or shutil.which(compiler) is None:
            pytest.skip(f"no compiler for {name}")
        (place / name).write_text(source)
        made = place / f"{name}{'-'.join(options)}.bin"
        subprocess.run([compiler, *options, name, "-o", made], cwd=place, check=True)
        return made

    return build


# -- every language ------------------------------------------------------------------------------------

SCRIPTS = {
    "sh": ["sh", "-c", "date +%s; exec date +%s"],
    "python": [PYTHON, "-c", "import time; print(int(time.time()))"],
    "perl": ["perl", "-e", "print time, qq(\\n)"],
    "awk": ["awk", "BEGIN { srand(); srand(); print srand() }"],
    "node": ["node", "-e", "console.log(Math.floor(Date.now() / 1000))"],
}
C = '#include <stdio.h>\n#include <time.h>\nint main(void) { printf("%ld\\n", (long)time(0)); }\n'
RUST = """
use std::time::*;
fn main() { println!("{}", SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_secs()); }
"""
GO = 'package main\nimport ("fmt"; "time")\nfunc main() { fmt.Println(time.Now().Unix()) }\n'
JAVA = """
class T { public static void main(String[] a) { System.out.println(System.currentTimeMillis() / 1000); } }
"""


@pytest.mark.parametrize("language", SCRIPTS)
def test_it_stands_still_in_scripts(observe, language):
    """Interpreters are asked through libc, and what they execute is asked anew; a shell's commands, too."""
    if shutil.which(SCRIPTS[language][0]) is None:
        pytest.skip(f"{SCRIPTS[language][0]} is not installed")
    seen = observe(*SCRIPTS[language], instant=INSTANT)
    assert set(seen.stdout.split()) == {SECONDS}, seen
    assert (seen.code, seen.unlent) == (0, [])


@pytest.mark.parametrize("options", [(), ("-static",)], ids=["dynamic", "static"])
def test_it_stands_still_in_c(observe, built, options):
    """A static program finds the vDSO itself while it starts: it must have been replaced by then."""
    assert observe(built("t.c", C, "gcc", *options), instant=INSTANT).stdout.split() == [SECONDS]


def test_it_stands_still_in_rust(observe, built):
    """Rust's standard library, through libc."""
    assert observe(built("t.rs", RUST, RUSTC), instant=INSTANT).stdout.split() == [SECONDS]


def test_it_stands_still_in_go(observe, tmp_path):
    """Go reads the vDSO by itself, without libc."""
    if shutil.which("go") is None:
        pytest.skip("go is not installed")
    (tmp_path / "t.go").write_text(GO)
    env = {**os.environ, "GOCACHE": str(tmp_path / "cache")}
    subprocess.run(["go", "build", "t.go"], cwd=tmp_path, env=env, check=True)
    assert observe(tmp_path / "t", instant=INSTANT).stdout.split() == [SECONDS]


def test_it_stands_still_in_java(observe, tmp_path):
    """A virtual machine with many threads."""
    if shutil.which("javac") is None:
        pytest.skip("javac is not installed")
    (tmp_path / "T.java").write_text(JAVA)
    quick = ["-J-XX:TieredStopAtLevel=1", "-J-XX:+UseSerialGC", "-proc:none"]
    subprocess.run(["javac", *quick, "T.java"], cwd=tmp_path, check=True)
    seen = observe("java", "-Xshare:auto", "-XX:TieredStopAtLevel=1", "-cp", tmp_path, "T", instant=INSTANT)
    assert seen.stdout.split() == [SECONDS], seen


# -- every reading, and no other clock -------------------------------------------------------------------

READINGS = """
#define _GNU_SOURCE
#include <stdio.h>
#include <errno.h>
#include <sys/syscall.h>
#include <sys/time.h>
#include <time.h>
#include <unistd.h>

int main(void) {
    struct timespec t;
    struct timeval v;
    struct timezone z = {1, 1};
    clockid_t wall[] = {CLOCK_REALTIME, CLOCK_REALTIME_COARSE, CLOCK_REALTIME_ALARM};
    for (int i = 0; i < 3; i++) {
        if (!clock_gettime(wall[i], &t)) printf("%ld.%09ld ", (long)t.tv_sec, t.tv_nsec);
        if (!syscall(SYS_clock_gettime, wall[i], &t)) printf("%ld.%09ld ", (long)t.tv_sec, t.tv_nsec);
    }
    gettimeofday(&v, &z);
    printf("%ld.%06ld %d%d ", (long)v.tv_sec, (long)v.tv_usec, z.tz_minuteswest, z.tz_dsttime);
    syscall(SYS_gettimeofday, &v, 0); printf("%ld.%06ld ", (long)v.tv_sec, (long)v.tv_usec);
    time_t at = 0; printf("%ld ", (long)time(&at)); printf("%ld\\n", (long)at);
#ifdef SYS_time
    at = 0;
    printf("%ld ", syscall(SYS_time, &at));
    printf("%ld %ld\\n", (long)at, syscall(SYS_time, 0));
#endif
    struct timespec a, b;
    clock_gettime(CLOCK_TAI, &a);
    syscall(SYS_clock_gettime, CLOCK_TAI, &b);
    clock_gettime(CLOCK_REALTIME, &t);
    printf("%d %d\\n", a.tv_sec == b.tv_sec, a.tv_sec - t.tv_sec >= 0 && a.tv_sec - t.tv_sec < 100);
    long wrong = syscall(SYS_clock_gettime, CLOCK_REALTIME, (void *)1);
    printf("%ld %d\\n", wrong, errno == EFAULT);
    int none = gettimeofday(0, 0);
    printf("%d\\n", none);
    clockid_t running[] = {CLOCK_MONOTONIC, CLOCK_BOOTTIME, CLOCK_MONOTONIC_RAW, CLOCK_PROCESS_CPUTIME_ID};
    for (int i = 0; i < 4; i++) {
        clock_gettime(running[i], &a);
        do clock_gettime(running[i], &b); while (a.tv_sec == b.tv_sec && a.tv_nsec == b.tv_nsec);
        printf("%d", b.tv_sec > a.tv_sec || b.tv_nsec > a.tv_nsec);
    }
}
"""


def test_each_reading_of_the_wall_clock_is_lent_and_no_other(observe, built):
    """By libc and by system call; an address that is not mapped fails as always; other clocks run on."""
    seen = observe(built("readings.c", READINGS, "gcc"), instant=INSTANT)
    wall, *lines = seen.stdout.splitlines()
    exact, coarse = f"{SECONDS}.678901234", f"{SECONDS}.678901"
    readings = wall.split()
    assert readings[-5:] == [coarse, "00", coarse, SECONDS, SECONDS]
    assert set(readings[:-5]) == {exact}
    assert len(readings) >= 4 + 5  # CLOCK_REALTIME_ALARM needs a clock with a battery
    if platform.machine() == "x86_64":
        assert lines.pop(0).split() == [SECONDS] * 3
    assert lines == ["1 1", "-1 1", "0", "1111"]


WAITS = """
#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <mqueue.h>
#include <pthread.h>
#include <semaphore.h>
#include <signal.h>
#include <stdio.h>
#include <sys/timerfd.h>
#include <time.h>
#include <unistd.h>

static struct timespec begun;

static struct timespec soon(clockid_t clock) {
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &begun);
    clock_gettime(clock, &t);
    t.tv_nsec += 60000000;
    if (t.tv_nsec >= 1000000000) { t.tv_sec++; t.tv_nsec -= 1000000000; }
    return t;
}

static void report(const char *name, int result) {
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    long took = (t.tv_sec - begun.tv_sec) * 1000 + (t.tv_nsec - begun.tv_nsec) / 1000000;
    printf("%s %d %ld\\n", name, result, took);
}

int main(void) {
    struct timespec t = soon(CLOCK_REALTIME);
    report("sleep", clock_nanosleep(CLOCK_REALTIME, TIMER_ABSTIME, &t, 0));
    t.tv_nsec += 60000000; /* as a program does that keeps a pace */
    if (t.tv_nsec >= 1000000000) { t.tv_sec++; t.tv_nsec -= 1000000000; }
    report("sleep-on", clock_nanosleep(CLOCK_REALTIME, TIMER_ABSTIME, &t, 0));
    t = soon(CLOCK_MONOTONIC);
    report("sleep-monotonic", clock_nanosleep(CLOCK_MONOTONIC, TIMER_ABSTIME, &t, 0));
    pthread_mutex_t mutex = PTHREAD_MUTEX_INITIALIZER, inherits;
    pthread_cond_t cond = PTHREAD_COND_INITIALIZER;
    pthread_mutex_lock(&mutex);
    t = soon(CLOCK_REALTIME);
    report("cond", pthread_cond_timedwait(&cond, &mutex, &t));
    t = soon(CLOCK_REALTIME);
    report("mutex", pthread_mutex_timedlock(&mutex, &t));
    sem_t sem;
    sem_init(&sem, 0, 0);
    t = soon(CLOCK_REALTIME);
    report("sem", sem_timedwait(&sem, &t) ? errno : 0);
    struct itimerspec alarm = {0};
    long long count;
    int fd = timerfd_create(CLOCK_REALTIME, 0);
    alarm.it_value = soon(CLOCK_REALTIME);
    timerfd_settime(fd, TFD_TIMER_ABSTIME, &alarm, 0);
    report("timerfd", read(fd, &count, 8) - 8);
    fd = timerfd_create(CLOCK_MONOTONIC, 0);
    alarm.it_value = soon(CLOCK_MONOTONIC);
    timerfd_settime(fd, TFD_TIMER_ABSTIME, &alarm, 0);
    report("timerfd-monotonic", read(fd, &count, 8) - 8);
    sigset_t set;
    sigemptyset(&set);
    sigaddset(&set, SIGALRM);
    sigprocmask(SIG_BLOCK, &set, 0);
    timer_t timer, monotonic;
    struct sigevent event = {.sigev_notify = SIGEV_SIGNAL, .sigev_signo = SIGALRM};
    timer_create(CLOCK_MONOTONIC, &event, &monotonic); /* its number is that of the wall clock */
    timer_create(CLOCK_REALTIME, &event, &timer);
    alarm.it_value = soon(CLOCK_REALTIME);
    timer_settime(timer, TIMER_ABSTIME, &alarm, 0);
    int got;
    sigwait(&set, &got);
    report("timer", got - SIGALRM);
    alarm.it_value = soon(CLOCK_MONOTONIC);
    timer_settime(monotonic, TIMER_ABSTIME, &alarm, 0);
    sigwait(&set, &got);
    report("timer-monotonic", got - SIGALRM);
    struct mq_attr attributes = {.mq_maxmsg = 1, .mq_msgsize = 8};
    char name[32], buffer[8];
    snprintf(name, sizeof name, "/outlive-%d", getpid());
    mqd_t queue = mq_open(name, O_CREAT | O_RDWR, 0600, &attributes);
    mq_unlink(name);
    t = soon(CLOCK_REALTIME);
    report("mq", queue < 0 ? ETIMEDOUT : mq_timedreceive(queue, buffer, 8, 0, &t) < 0 ? errno : 0);
}
"""


@pytest.mark.parametrize("instant", [INSTANT, nanoseconds("2087-01-01T00:00:00Z")], ids=["past", "future"])
def test_a_wait_until_a_moment_lasts_as_long_as_it_should(observe, built, instant):
    """The kernel measures it by its own clock: unmoved, it would end at once, or never."""
    seen = observe(built("waits.c", WAITS, "gcc", "-pthread"), instant=instant, timeout=30)
    waits = {
        name: (int(result), int(took)) for name, result, took in map(str.split, seen.stdout.splitlines())
    }
    assert seen.code == 0, seen
    assert len(waits) == 11
    for name, (result, took) in waits.items():
        assert result == (110 if name in ("cond", "mutex", "sem", "mq") else 0), name  # ETIMEDOUT
        least = 119 if name == "sleep-on" else 59
        assert took >= least or name == "mq", (name, took)  # a container may have no message queues


SLEEPS = """
import multiprocessing, queue, threading, time
lock, several = multiprocessing.Lock(), multiprocessing.Queue()
lock.acquire()
waits = {
    "sleep": lambda: time.sleep(0.06),
    "event": lambda: threading.Event().wait(0.06),
    "lock": lambda: lock.acquire(timeout=0.06),
}
for name, wait in waits.items():
    begun, wall = time.monotonic(), time.time()
    wait()
    print(name, time.monotonic() - begun >= 0.059, time.time() - wall)
"""


def test_sleeping_and_timeouts_of_python_work(observe):
    """Monotonic time runs on; a lock between processes has a deadline of the wall clock (sem_timedwait)."""
    seen = observe(PYTHON, "-c", SLEEPS, instant=INSTANT, timeout=30)
    assert seen.stdout.splitlines() == ["sleep True 0.0", "event True 0.0", "lock True 0.0"], seen


# -- what it costs, and who sees it ----------------------------------------------------------------------


def test_the_ops_are_those_of_a_run_with_its_own_clock(observe, tmp_path):
    """The clock's own stops are no ops, and make no company of a process that made none."""
    script = "date +%s >/dev/null; mkdir d; for i in 1 2 3; do echo $i > d/$i; done; mv d/1 d/4; rm d/2"
    plain = observe("sh", "-c", script)
    shutil.rmtree(tmp_path / "box" / "d")
    lent = observe("sh", "-c", script, instant=INSTANT)
    said = [[(op["kind"], op["path"], op["target"]) for op in seen.ops] for seen in (plain, lent)]
    assert said[0] == said[1]
    assert plain.is_alone == lent.is_alone
    assert plain.blind == lent.blind == []


def test_it_is_lent_to_runs_that_are_not_watched_otherwise(observe):
    """A setup or a check whose ops do not count has the same clock; its files are changed unseen."""
    seen = observe("sh", "-c", "date +%s; echo > f; date +%s", plain=True, instant=INSTANT)
    assert seen.stdout.split() == [SECONDS, SECONDS]
    assert (seen.number_of_ops, seen.unlent) == (0, [])


def test_where_calls_cannot_be_intercepted_the_clock_runs_and_that_is_said(observe):
    """The run is as it would have been without the option."""
    before = int(time.time())
    seen = observe("date", "+%s", plain=True, instant=INSTANT, refuse=True)
    assert before <= int(seen.stdout) <= time.time()
    (why,) = seen.unlent
    assert why.startswith("the clock is not lent: calls cannot be intercepted here: ")
    assert why.endswith("Operation not permitted")


@pytest.mark.skipif(os.getuid() != 0, reason="needs root to become another user")
def test_a_program_whose_memory_is_closed_is_named(observe):
    """Nobody but root may change the memory of a program that only its owner may read; others are lent it."""
    with tempfile.TemporaryDirectory() as place:
        Path(place).chmod(0o755)
        hidden = Path(place, "hidden")
        shutil.copy(shutil.which("date"), hidden)
        hidden.chmod(0o711)
        script = f"{hidden} +%s; date +%s"
        seen = observe("sh", "-c", script, plain=True, instant=INSTANT, uid=65534, box=place)
    real, lent = seen.stdout.split()
    assert (real != SECONDS, lent) == (True, SECONDS)
    assert seen.unlent == ["the clock was not lent to hidden: Permission denied"]


# -- the vDSO ------------------------------------------------------------------------------------------

MACHINE = MACHINES.get(platform.machine())
SHOWN = Readings(1_767_323_045, 678_901_234, 678_901, 1_767_323_082)


def _with_short_functions(image):
    """Return an image whose functions are as long as a jump, as some kernels' are."""
    image = bytearray(image)
    (start,) = struct.unpack_from("<Q", image, 40)
    size, count, _ = struct.unpack_from("<HHH", image, 58)
    for at in range(count):
        _, kind, _, _, offset, length, _, _ = struct.unpack_from("<IIQQQQII", image, start + size * at)
        for symbol in range(offset, offset + length, 24) if kind == 11 else ():
            if struct.unpack_from("<Q", image, symbol + 16)[0]:
                struct.pack_into("<Q", image, symbol + 16, 5)
    return bytes(image)


@pytest.mark.skipif(MACHINE is None, reason="the vDSO of this machine is not known")
def test_functions_without_room_are_led_to_the_end_of_the_image(monkeypatch):
    """Some kernels' functions are no longer than a jump; there is room behind the image, up to a page."""
    image = vdso.own_image()
    patch = vdso.patch_of(_with_short_functions(image), MACHINE, vdso.readings(INSTANT))
    place = max(patch.pieces, key=lambda at: len(patch.pieces[at]))
    assert not image[place:].strip(b"\0")
    monkeypatch.setattr(vdso, "own_patch", lambda _instant: patch._replace(header=image[:64]))
    code = (
        "import sys, time; print(flush=True); sys.stdin.read(1); print(time.time_ns(), time.monotonic() > 0)"
    )
    with subprocess.Popen([PYTHON, "-c", code], stdin=subprocess.PIPE, stdout=subprocess.PIPE) as child:
        child.stdout.readline()
        time.sleep(0.01)  # until it waits for its input
        vdso.lend(child.pid, INSTANT)
        assert child.communicate(b"x")[0].split() == [b"%d" % INSTANT, b"True"]


@pytest.mark.parametrize("image", [b"", b"\x7fELF" + bytes(60), bytes(8192)])
def test_what_is_no_known_vdso_is_left_alone(image):
    """Its code would be overwritten at a guess."""
    with pytest.raises(vdso.UnknownVdsoError, match="the vDSO of this kernel has no "):
        vdso.patch_of(image, MACHINES["x86_64"], SHOWN)


@pytest.mark.skipif(MACHINE is None, reason="the vDSO of this machine is not known")
def test_a_vdso_without_room_is_left_alone():
    """A full last page, and functions as long as a jump."""
    image = _with_short_functions(vdso.own_image()).rstrip(b"\0")
    with pytest.raises(vdso.UnknownVdsoError, match="has no room for other clock functions"):
        vdso.patch_of(image, MACHINE, SHOWN)


#: The words of arm64's functions as an assembler makes them of the text beside them.
ARM64 = """
d503245f bti c            | 7100001f cmp w0, #0       | 54000140 b.eq wall         | 7100141f cmp w0, #5
54000100 b.eq wall        | 7100201f cmp w0, #8       | 540000c0 b.eq wall         | 71002c1f cmp w0, #11
54000120 b.eq tai         | d2800e28 mov x8, #113     | d4000001 svc #0            | d65f03c0 ret
58fffd83 ldr x3, seconds  | 58fffda4 ldr x4, nanos    | a9001023 stp x3, x4, [x1]  | 52800000 mov w0, #0
d65f03c0 ret              | 58fffda3 ldr x3, tai      | 17fffffb b store           | d503245f bti c
b4000080 cbz x0, zone     | 58fffc63 ldr x3, seconds  | 58fffcc4 ldr x4, micros    | a9001003 stp x3, x4, [x0]
b4000041 cbz x1, done     | f900003f str xzr, [x1]    | 52800000 mov w0, #0        | d65f03c0 ret
"""


def test_the_functions_of_arm64_are_as_an_assembler_makes_them():
    """Each was run in an emulator, for each clock and for null pointers; a change must be run there again."""
    code, labels = functions(MACHINES["aarch64"], SHOWN)
    assert struct.unpack_from("<4q", code) == SHOWN
    words = [part.split()[0] for line in ARM64.splitlines() for part in line.split("|") if part.strip()]
    assert [f"{word:08x}" for (word,) in struct.iter_unpack("<I", code[32:])] == words
    assert {name: labels[name] for name in ("clock_gettime", "gettimeofday")} == {
        "clock_gettime": 32,
        "gettimeofday": 108,
    }
    assert MACHINES["aarch64"].entry(0x1C) == struct.pack("<II", 0xD503245F, 0x14000006)
