"""A scenario on a lent clock: what holds a time is judged byte by byte, in every kind of run."""

from outlive_harness.results.instants import DEFAULT
from outlive_harness.results.verdicts import Verdict

#: Writes times that it reads at import and later, itself and in a command, through a forked interpreter too.
BODY = """
import gzip, json, logging, subprocess
WHEN = time.time_ns()

def now():
    return time.clock_gettime_ns(time.CLOCK_REALTIME)

@scenario(outputs="out/*", setup=now, check=now{keywords})
def report():
    Path("out").mkdir(exist_ok=True)
    shell = subprocess.run(["date", "+%s.%N"], capture_output=True, text=True).stdout
    times = [WHEN, now(), time.time(), logging._startTime, shell, time.monotonic() > 0]
    put("out/times.json", json.dumps(times))
    with open("out/.data", "wb") as file:
        file.write(gzip.compress(b"data"))
    os.replace("out/.data", "out/data.gz")
"""


def test_the_clock_decides_whether_anything_can_be_judged(one):
    """The same pipeline is nondeterministic, or held with every point tried, forked or not."""
    plain = one(BODY.format(keywords=""))
    assert plain.verdict is Verdict.UNKNOWN
    assert plain.reason.startswith("nondeterministic: ")
    lent = one(BODY.format(keywords=", freeze=True"))
    assert (lent.verdict, lent.reason) == (Verdict.HELD, "")
    assert lent.warnings == lent.litter  # a crash leaves its temporary file, and the clock gives no cause
    assert lent.zygote  # its imports of before have the lent time, too
    assert lent.ops == plain.ops
    assert [(item.what, item.why) for item in lent.not_judged] == [
        ("other times", f"the wall clock stood still at {DEFAULT}")
    ]
    executed = one(BODY.format(keywords=", freeze='2026-03-29T01:59:59+01:00'"), zygote=False)
    assert (executed.verdict, executed.zygote) == (Verdict.HELD, False)


def test_a_violation_is_found_and_confirmed_on_the_lent_clock(one):
    """A file written in place is torn, and its regression would be tried at the same instant."""
    found = one("""
    @scenario(outputs="out", freeze=True)
    def torn():
        with open("out", "w") as file:
            file.write(str(time.time()))
    """)
    assert found.verdict is Verdict.VIOLATED
    assert {one.kind for one in found.violations} == {"torn-output"}


def test_a_loop_that_waits_for_the_clock_is_told_why_it_never_ends(one):
    """It looks like a hang of the program, and is one of its clock."""
    found = one("""
    @scenario(outputs="out", freeze=True, timeout=1)
    def waits():
        begun = time.time()
        while time.time() < begun + 0.01:
            time.sleep(0.001)
    """)
    assert found.verdict is Verdict.UNKNOWN
    assert "the wall clock stands still (--freeze), and a loop that waits until it moves" in found.reason
