"""What the first user of the harness met."""

from outlive_harness.results.verdicts import Verdict


def test_a_temporary_file_that_is_opened_twice_is_no_torn_output(one):
    """Beside an output, under a fixed name, a file is written in two goes and renamed: nobody reads it."""
    result = one("""
import subprocess
@scenario(outputs="out/*")
def good():
    Path("out").mkdir(exist_ok=True)
    script = "echo head > out/x.tmp; echo body >> out/x.tmp; mv out/x.tmp out/x"
    subprocess.run(["sh", "-euc", script], check=True)
""")
    assert (result.verdict, result.violations) == (Verdict.HELD, [])


def test_what_a_recovery_puts_in_place_whole_is_not_torn(one):
    """At depth 2 an output may have a whole content that no golden run gives it."""
    result = one("""
@scenario(outputs="out/status", depth=2)
def good():
    status = Path("out/status")
    if status.exists() and status.read_text() == "done":
        return
    put(status, "resumed" if status.exists() else "begun")
    put(status, "done")
""")
    assert (result.verdict, result.violations) == (Verdict.HELD, [])


def test_a_torn_write_of_a_recovery_is_still_seen(one):
    """At depth 2 an output that only a recovery writes in place is torn."""
    result = one("""
@scenario(outputs="out/status", depth=2)
def bad():
    status = Path("out/status")
    if status.exists() and status.read_text() == "begun":
        status.write_text("resumed")
    if not status.exists():
        put(status, "begun")
    put(status, "done")
""")
    assert {(violation.kind, violation.point.count("+")) for violation in result.violations} == {
        ("torn-output", 1)
    }


def test_workers_that_are_spawned_find_the_functions_of_the_file(one):
    """Every start method of multiprocessing works in a body, not only fork."""
    result = one("""
import multiprocessing
def work(method):
    put(f"out/{method}", method)
@scenario(outputs="out/*")
def good():
    for method in ("spawn", "forkserver"):
        child = multiprocessing.get_context(method).Process(target=work, args=(method,))
        child.start()
        child.join()
        assert child.exitcode == 0
""")
    assert (result.verdict, result.violations) == (Verdict.HELD, []), result


def test_leftovers_of_one_kind_are_counted_once_a_point(one):
    """However many temporary files a state has, it is one crash point."""
    result = one("""
@scenario(outputs="out/*")
def good():
    Path("out").mkdir(exist_ok=True)
    files = [tempfile.NamedTemporaryFile(dir="out", delete=False) for _ in range(3)]
    for number, file in enumerate(files):
        os.replace(file.name, f"out/{number}")
""")
    (warning,) = result.warnings
    assert warning.split()[-3:] == ["5", "crash", "points"], warning


def test_a_known_bad_scenario_that_a_sample_misses_is_unknown(one):
    """A sample proves nothing about what it did not find."""
    result = one(
        """
@scenario(outputs="out/x", expect="recovery-hung")
def bad():
    put("out/x", "x")
""",
        points=1,
    )
    assert result.verdict is Verdict.UNKNOWN
