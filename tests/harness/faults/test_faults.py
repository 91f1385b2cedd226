"""Faults: where each one strikes, and what it does to a real run."""

import random
import signal
import textwrap

import pytest

from outlive_harness.explore import case
from outlive_harness.faults import KnownRun
from outlive_harness.faults.cuts import is_short, lengths
from outlive_harness.faults.table import RUN_FAULTS
from outlive_harness.jobs.session import Session
from outlive_harness.report.text import explain
from outlive_harness.results.ops import Op
from outlive_harness.results.verdicts import Verdict

EVERY = ("kill", "torn", "full", "eio", "term")

ATOMIC = """
@scenario(outputs="out/*", timeout=20)
def atomic():
    Path("out").mkdir(exist_ok=True)
    for i in range(2):
        with open("out/.t", "w") as f:
            f.write("x" * 5000); f.flush(); os.fsync(f.fileno())
        os.replace("out/.t", f"out/{i}")
"""


def found(result):
    return {(violation.fault, violation.kind) for violation in result.violations}


@pytest.mark.parametrize("name", sorted(RUN_FAULTS))
def test_points_are_in_order_and_repeatable(name):
    """The same ops and seed give the same points, each within the run."""
    ops = [
        Op("open", "openat", "o", flags=0o101),
        Op("write", "write", "o", length=9000),
        Op("sync", "sync", ""),
    ]
    fault = RUN_FAULTS[name]
    several = [fault.points(KnownRun(ops, 1.0, None, random.Random("seed"))) for _ in range(2)]
    assert several[0] == several[1] == sorted(several[0])
    assert all(point.fault == name for point in several[0])
    assert several[0]


@pytest.mark.parametrize(
    ("op", "pages", "more"),
    [
        ({"length": 1}, [], []),
        ({"length": 2}, [], [1]),
        ({"length": 10}, [], [1, 5, 9]),
        ({"length": 4096}, [], [1, 2048, 4095]),
        ({"length": 9000}, [4096, 8192], [1, 4500, 8999]),
        ({"offset": 4000, "length": 200}, [96], [1, 100, 199]),
        ({"offset": -1, "begin": 4000, "length": 200}, [96], [1, 100, 199]),
        ({"length": 4096 * 101}, [4096, 8192, 12288, 208896, 401408, 405504, 409600], [1, 206848, 413695]),
        ({"kind": "copy", "begin": 0, "length": 9000}, [4096, 8192], [1, 4500, 8999]),
        (
            {"kind": "copy", "begin": 100, "offset": 5, "length": 70000},
            [4091, 8187, 12283, 36859, 61435, 65436, 65531, 69627],
            [1, 35000, 69999],
        ),
    ],
)
def test_a_write_is_torn_where_a_kill_can_end_it(op, pages, more):
    """At pages of the file, of an appended write too, and where a copy takes its next piece."""
    write = Op(**{"kind": "write", "syscall": "write", "path": "o", **op})
    assert lengths(write) == pages
    assert lengths(write, "bytes") == sorted({*pages, *more})
    assert not any(is_short(write, cut) for cut in pages)
    assert all(is_short(write, cut) for cut in more)


def test_an_atomic_pipeline_holds_under_every_fault(one):
    """Renaming a finished file into place survives each of them."""
    result = one(ATOMIC, faults=EVERY)
    assert result.verdict is Verdict.HELD, result
    assert all(coverage.tested == coverage.points > 0 for coverage in result.faults.values())
    assert set(result.faults) == set(EVERY)


def test_a_recovery_is_struck_by_every_fault(one):
    """At depth 2 the second fault of a plan may be any that was asked for."""
    result = one(ATOMIC.replace("range(2)", "range(1)"), faults=("kill", "torn"), depth=2)
    assert result.verdict is Verdict.HELD, result
    assert result.faults["torn"].points > 1


def test_a_torn_write_leaves_a_real_prefix(one, tmp_path):
    """The bytes before the tear are in the file, the others are not, at the writer's own offset."""
    result = one(
        """
@scenario(outputs="o")
def appends():
    with open("o", "w") as f:
        f.write("header\\n"); f.flush()
    with open("o", "a") as f:
        f.write("0123456789")
""",
        faults=("torn",),
        torn="bytes",
    )
    told = {violation.point: violation.message for violation in result.violations}
    assert found(result) == {("torn", "torn-output")}
    assert told == {"torn@2.1": "o is visible half-written: 1 of 17 bytes"}
    kept = tmp_path / ".outlive" / "failures"
    assert [path.read_text() for path in kept.glob("*/crashed/o")] == ["h"]


SMALL = """
@scenario(outputs="o")
def in_place():
    with open("o", "w") as f:
        f.write("x" * {length})
"""


def test_a_write_within_one_page_is_not_torn_by_a_kill(one):
    """It arrives whole or not at all: nothing is found unless cuts at any byte are asked for."""
    result = one(SMALL.format(length=4000), faults=("kill", "torn"))
    assert found(result) == {("kill", "torn-output")}
    assert result.faults["torn"].points == 0


def test_what_only_a_short_write_shows_is_labelled(one):
    """A cut inside a page says what makes it; where a cut at a page shows the same, that one is told."""
    small = one(SMALL.format(length=4000), faults=("torn",), torn="bytes")
    assert {violation.point for violation in small.violations} == {"torn@2.1"}
    assert all("cut short inside a page" in violation.rests_on for violation in small.violations)
    assert any(
        line.startswith("  rests on: a write cut short inside a page")
        for line in explain(small.violations[0])
    )
    long = one(SMALL.format(length=6000), faults=("torn",), torn="bytes")
    assert {(violation.point, violation.rests_on) for violation in long.violations} == {("torn@2.4096", "")}
    assert long.faults["torn"].points == 4


def test_a_scenario_may_ask_for_cuts_at_any_byte(one):
    """Its keyword holds where the options leave it open, and only there."""
    source = SMALL.format(length=4000).replace('outputs="o"', 'outputs="o", torn="bytes"')
    assert one(source, faults=("torn",)).faults["torn"].points == 3
    assert one(source, faults=("torn",), torn="pages").faults["torn"].points == 0


@pytest.mark.parametrize("zygote", [True, False])
def test_an_append_is_torn_at_pages_of_its_file(one, zygote):
    """Where the file ends decides: in what is told from a recording, in what is made, and in a recovery."""
    source = """
@scenario(outputs="o")
def appends():
    fd = os.open("o", os.O_CREAT | os.O_RDWR | os.O_APPEND)
    assert os.fstat(fd).st_size in (0, 4096, 8192, 9000)
    os.ftruncate(fd, 0)
    for _ in range(3):
        os.write(fd, b"x" * 3000)
"""
    result = one(source, faults=("torn",), depth=2, exhibit=True, zygote=zygote)
    assert found(result) == {("torn", "torn-output")}
    first = ("torn@4.1096", "torn@5.2192")
    plans = {plan for _, _, plan, _ in result.exhibit.points}
    assert plans == {*first, *(f"{one}+{two}" for one in first for two in first)}


def test_a_vector_write_at_an_offset_is_torn_too(one):
    """pwritev(2) is decoded and cut across its buffers."""
    result = one(
        """
@scenario(outputs="o")
def vectors():
    fd = os.open("t", os.O_CREAT | os.O_RDWR)
    os.pwritev(fd, [b"abc", b"defg"], 2)
    os.close(fd)
    os.replace("t", "o")
    assert Path("o").read_bytes() == b"\\0\\0abcdefg"
""",
        faults=("torn",),
        torn="bytes",
    )
    assert result.verdict is Verdict.HELD, result
    assert result.faults["torn"].points == 3


def test_a_copy_by_the_kernel_is_torn_too(one):
    """shutil.copyfile is one sendfile(2), which SIGKILL cuts off as it does a write."""
    source = """
@scenario(outputs="o", faults=["torn"], setup=lambda: Path("source").write_bytes(b"x" * 30000))
def copies():
    import shutil
    if not Path("t").exists():
        shutil.copyfile("source", "t")
    Path("u").write_text(str(len(Path("t").read_bytes())))
    os.replace("u", "o")
"""
    for zygote in (True, False):
        result = one(source, faults=("torn",), zygote=zygote)
        assert found(result) == {("torn", "diverged")}
        assert result.faults["torn"].tested == 7


def test_only_what_can_be_cut_off_is_torn():
    """A clone comes whole or not at all, and nothing is torn of what is not known."""
    calls = (("ioctl", 9000), ("splice", 0), ("splice", 5000))
    ops = [Op("copy", name, "o", length=length) for name, length in calls]
    points = RUN_FAULTS["torn"].points(KnownRun(ops, 1.0, None, random.Random()))
    assert [str(point) for point in points] == ["torn@3.4096"]


@pytest.mark.parametrize("where", [", offset_dst=0", ""])
def test_a_copy_out_of_a_pipe_is_torn(one, where):
    """What is in the pipe arrives as far as the kernel comes: here over an output that was whole."""
    result = one(
        f"""
@scenario(outputs="o", faults="torn")
def copies():
    if not Path("o").exists():
        put("o", "old" * 2000)
    r, w = os.pipe()
    os.write(w, b"new" * 2000)
    fd = os.open("o", os.O_WRONLY)
    assert os.splice(r, fd, 1 << 16{where}) == 6000
"""
    )
    assert found(result) == {("torn", "torn-output")}
    assert result.violations[0].confirmed


def test_a_torn_write_goes_where_the_call_says(one):
    """pwritev2(2) may append whatever its offset is; so does the part of it that arrives."""
    result = one(
        """
@scenario(outputs="o")
def appends():
    fd = os.open("t", os.O_CREAT | os.O_RDWR)
    have = os.read(fd, 100)
    assert have[:4] == b"AAAA"[:len(have)], have
    os.ftruncate(fd, 0)
    os.pwrite(fd, b"AAAA", 0)
    os.lseek(fd, 0, os.SEEK_SET)
    os.pwritev(fd, [b"BBBB"], -1, os.RWF_APPEND)
    os.close(fd)
    os.replace("t", "o")
""",
        faults=("torn",),
        torn="bytes",
        zygote=False,
    )
    assert result.verdict is Verdict.HELD, result


@pytest.mark.parametrize(("fault", "name"), [("torn@3.4096", "o"), ("full@3.4096", "t")])
def test_a_write_past_the_page_cache_is_cut_too(fault, name, one, tmp_path):
    """O_DIRECT takes memory and lengths of blocks alone; what arrives of it is the same."""
    source = f"""
@scenario(outputs="o")
def direct():
    import mmap
    page = mmap.mmap(-1, 8192)
    page.write(b"x" * 8192)
    os.open("{name}", os.O_CREAT | os.O_WRONLY | os.O_TRUNC)
    os.writev(os.open("{name}", os.O_WRONLY | os.O_DIRECT), [page])
    os.rename("{name}", "o")
"""
    with Session(jobs=1, box_dir=tmp_path) as within:
        result = one(source, faults=(fault[:4],), within=within, zygote=False)
    torn = {(one.point, one.message) for one in result.violations if one.kind == "torn-output"}
    assert torn == {(fault, "o is visible half-written: 4096 of 8192 bytes")}


def test_a_disk_that_fills_up_in_a_write_gives_a_short_count(one):
    """Half of a write arrives and no error says so; who ignores the count keeps a short file for ever."""
    source = """
@scenario(outputs="o")
def writes():
    if Path("o").exists():
        return
    fd = os.open("t", os.O_CREAT | os.O_WRONLY | os.O_TRUNC)
    data = b"0123456789abcdef" * 1000
    while data:
        data = data[os.write(fd, data) :]
        {more}
    os.replace("t", "o")
"""
    assert one(source.format(more=""), faults=("full",)).verdict is Verdict.HELD
    result = one(source.format(more="break"), faults=("full",))
    assert ("full", "diverged") in found(result)
    assert {violation.point for violation in result.violations} == {"full@2.4096"}
    assert "here:   file of 4096 bytes" in "".join(violation.detail for violation in result.violations)


@pytest.mark.parametrize(
    ("kind", "offset", "length", "parts"),
    [
        ("write", 0, 1, [0]),
        ("write", -1, 9, [0, 4]),
        ("write", 0, 9000, [0, 4096]),
        ("write", 4000, 1000, [0, 96]),
        ("write", 0, 20000, [0, 8192]),
        ("copy", 0, 9000, [0]),
        ("mkdir", 0, 0, [0]),
    ],
)
def test_where_a_disk_is_full_in_a_write(kind, offset, length, parts):
    """Before it, and half-way: where a block of the file ends if there is one before that."""
    ops = [Op(kind, kind, "o", offset=offset, length=length)]
    points = RUN_FAULTS["full"].points(KnownRun(ops, 1.0, None, random.Random()))
    assert [point.part for point in points] == parts


def test_a_swallowed_full_disk_is_caught(one):
    """ENOSPC that is ignored publishes a short file; kill and torn do not show it."""
    source = """
@scenario(outputs="o")
def swallows():
    fd = os.open("t", os.O_CREAT | os.O_WRONLY | os.O_TRUNC)
    try:
        os.write(fd, b"x" * 100)
    except OSError:
        pass
    os.replace("t", "o")
"""
    assert one(source, faults=("kill", "torn")).verdict is Verdict.HELD
    assert ("full", "torn-output") in found(one(source, faults=("full",)))


def test_a_full_disk_stays_full_until_the_restart(one):
    """A retry in the same run fails too; removing files and renaming still work."""
    result = one(
        """
@scenario(outputs="o", timeout=20)
def retries():
    for attempt in range(3):
        try:
            Path("t").write_text("x" * 100)
            break
        except OSError as error:
            print(error)
    else:
        Path("t").unlink(missing_ok=True)
        sys.exit("the disk is full")
    os.replace("t", "o")
""",
        faults=("full",),
    )
    assert result.verdict is Verdict.HELD, result


def test_an_error_strikes_once_and_on_fsync_too(one):
    """A pipeline that retries a failed fsync goes on: EIO came once; one that ignores errors is caught."""
    good = """
@scenario(outputs="o")
def retries():
    with open("t", "w") as f:
        f.write("x"); f.flush()
        try:
            os.fsync(f.fileno())
        except OSError as error:
            assert error.errno == 5
            os.fsync(f.fileno())
    os.replace("t", "o")
"""
    assert one(good, faults=("eio",)).verdict is Verdict.HELD
    bad = """
@scenario(outputs=["o", "p"])
def ignores():
    for name in "op":
        try:
            fd = os.open("t", os.O_CREAT | os.O_WRONLY | os.O_TRUNC)
            os.write(fd, name.encode() * 10)
        except OSError:
            pass
        if Path("t").exists(): os.replace("t", name)
"""
    assert ("eio", "torn-output") in found(one(bad, faults=("eio",)))


def test_a_handler_that_writes_a_partial_output_is_caught(one):
    """SIGTERM lets the program speak its last words, and they may be wrong."""
    source = """
@scenario(outputs="o", timeout=20)
def handler():
    import signal
    def stop(*_):
        Path("o").write_text("part")
        sys.exit(143)
    signal.signal(signal.SIGTERM, stop)
    put("o", "x" * 100)
    put("p", "end")
"""
    assert one(source, faults=("kill",)).verdict is Verdict.HELD
    assert ("term", "torn-output") in found(one(source, faults=("term",)))


def test_a_program_that_ignores_the_signal_is_killed_after_its_grace(one):
    """The grace period ends with SIGKILL, as a scheduler's does."""
    result = one(
        """
@scenario(outputs="o", timeout=30)
def stubborn():
    import signal
    asked = []
    signal.signal(signal.SIGTERM, lambda *_: asked.append(1))
    put("o", "x")
    while asked: time.sleep(0.05)
""",
        faults=("term",),
    )
    assert result.verdict is Verdict.HELD, result


def test_another_signal_can_be_asked_for(one):
    """--signal: a handler of SIGINT is reached by SIGINT alone, and the plan names the signal."""
    source = """
@scenario(outputs="o", timeout=20)
def handler():
    import signal
    def stop(*_):
        Path("o").write_text("part")
        sys.exit(130)
    signal.signal(signal.SIGINT, stop)
    put("o", "x" * 100)
    put("p", "end")
"""
    assert one(source, faults=("term",)).verdict is Verdict.HELD
    result = one(source, faults=("term",), signal=signal.SIGINT)
    assert ("term", "torn-output") in found(result)
    assert all(violation.point.endswith(f".{signal.SIGINT:d}") for violation in result.violations)


WRITERS = {
    "in place": 'Path("out").write_text("x" * 9000)\n    put("other", "y" * 9000)',
    "appended": 'for n in range(6):\n        with open("out", "a") as f:\n            f.write("x" * 5000)',
    "in the middle": """with open("out", "wb") as f:
        f.write(b"x" * 20000)
        for at in (0, 4095, 9000, 19990):
            f.seek(at)
            f.write(b"yz" * 5)
            f.flush()""",
    "several buffers": """fd = os.open("out", os.O_CREAT | os.O_WRONLY)
    os.writev(fd, [b"a" * 100, b"b" * 9000])
    os.pwritev(fd, [b"c" * 50, b"d" * 70], 3)
    os.pwrite(fd, b"e" * 4097, 5000)""",
    "unlinked": """f = open("scratch", "w+")
    os.unlink("scratch")
    for n in range(5):
        f.write("y" * 100)
        f.flush()
    put("out", "x" * 5000)""",
    "read-only": """if not os.path.exists("out"):
        fd = os.open("out", os.O_CREAT | os.O_WRONLY | os.O_EXCL, 0o444)
        for n in range(4):
            os.write(fd, b"x" * 3000)""",
}


@pytest.mark.parametrize("writer", WRITERS)
def test_torn_writes_are_told_from_a_recording_as_they_are_made(writer, one):
    """Each point leads to the same, and there are as many states, whether the pipeline runs for it or not."""
    source = f"""
        @scenario(outputs="out")
        def it():
            {WRITERS[writer].replace(chr(10), chr(10) + " " * 8)}
    """
    told, made = (
        one(source, faults=("torn",), torn="bytes", exhibit=True, zygote=zygote) for zygote in (True, False)
    )
    assert told.faults["torn"].tested >= 8
    assert (told.faults, told.verdict) == (made.faults, made.verdict)
    assert sorted(told.exhibit.points) == sorted(made.exhibit.points)
    assert [str(each) for each in told.violations] == [str(each) for each in made.violations]


def test_the_pipeline_does_not_run_for_each_torn_write(one, tmp_path, monkeypatch):
    """It runs once for all of them, and then only to recover."""
    monkeypatch.setattr(case, "sample", lambda _trials: ())  # no trial is repeated by exec
    runs = tmp_path / "runs"
    source = f"""
        @scenario(outputs="out")
        def it():
            with open({str(runs)!r}, "a") as log:
                log.write(".")
            for n in range(10):
                put(f"part{{n}}", "x" * 100)
            put("out", "x" * 100)
    """
    counts = []
    for zygote in (True, False):
        runs.write_text("")
        points = one(source, faults=("torn",), torn="bytes", zygote=zygote).faults["torn"].tested
        counts.append(len(runs.read_text()))
    assert points == 33
    assert counts[1] - counts[0] >= points - 3


OWN_TABLE = """
import ctypes, os, threading
put("out/log", "start")
kept = os.open("out/log", os.O_WRONLY | os.O_APPEND)

def work():
    assert ctypes.CDLL(None).unshare(0x400) == 0  # CLONE_FILES: a table of descriptors of its own
    os.dup2(os.open("out/r.tmp", os.O_CREAT | os.O_TRUNC | os.O_WRONLY), kept)
    os.write(kept, b"a" * 4000)
    os.fsync(kept)
    os.close(kept)
    os.rename("out/r.tmp", "out/r")

thread = threading.Thread(target=work)
thread.start()
thread.join()
"""


def test_a_write_of_a_thread_with_its_own_descriptors_is_torn_where_it_goes(one):
    """The same number is another file in the rest of the process, which nothing is written to."""
    result = one(
        "@scenario(outputs='out/*', faults='torn', torn='bytes')\n"
        f"def it():\n{textwrap.indent(OWN_TABLE, '    ')}"
    )
    assert result.verdict is Verdict.HELD, result
    assert result.faults["torn"].points > 3
