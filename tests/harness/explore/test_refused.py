"""Machines that give less: no root, and no seccomp."""

import json
import os
import subprocess
import sys
import sysconfig
import tempfile
from pathlib import Path

import pytest

REPOSITORY = Path(__file__).parents[3]
NOBODY = 65534

#: Explores a scenario file in a process that first gives up what the first argument says.
SCRIPT = """
import json, os, sys
from pathlib import Path
sys.path.insert(0, sys.argv[3])
if sys.argv[1] == "refuse":
    import errno
    from _observe import refuse_seccomp
    refuse_seccomp(errno.EPERM)
from outlive_harness.explore.engine import explore
from outlive_harness.results.options import Options
from outlive_harness.jobs.session import Session
from outlive_harness.results.scenario_files import load_file
path = Path(sys.argv[2])
with Session(jobs=1) as session:
    result = explore(session, load_file(path), Options(store=path.parent / ".outlive"))
(one,) = result.scenarios
print(json.dumps({
    "uid": os.getuid(), "exit": result.exit_status, "verdict": one.verdict, "reason": one.reason,
    "faults": {name: [c.points, c.tested, c.note] for name, c in one.faults.items()},
    "kinds": [v.kind for v in one.violations], "messages": [v.message for v in one.violations],
}))
"""
GOOD = """
import os, time
from outlive_harness import scenario

@scenario(outputs="o")
def good():
    time.sleep(0.05)
    with open("t", "w") as f: f.write("x" * 100)
    os.replace("t", "o")
"""
TORN = """
import time
from outlive_harness import scenario

@scenario(outputs="o")
def torn():
    with open("o", "w") as f:
        for _ in range(10):
            f.write("x" * 10); f.flush(); time.sleep(0.02)
"""


@pytest.fixture
def place():
    """A directory that anybody may enter and write, as pytest's own is not."""
    with tempfile.TemporaryDirectory() as where:
        Path(where).chmod(0o777)
        yield Path(where)


def paths():
    return os.pathsep.join(
        [str(REPOSITORY / "harness"), str(REPOSITORY / "src"), sysconfig.get_path("platlib")]
    )


def explored(place, source, mode, *, python=sys.executable, **process):
    (place / "s.py").write_text(source)
    done = subprocess.run(
        [python, "-c", SCRIPT, mode, str(place / "s.py"), str(Path(__file__).parents[1])],
        capture_output=True, text=True, check=False, env={**os.environ, "PYTHONPATH": paths()}, timeout=300,
        **process,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout)


def test_where_seccomp_is_refused_the_verdict_is_unknown(place):
    """The harness says exactly what is refused, tries random moments, and never calls that held."""
    seen = explored(place, GOOD, "refuse")
    assert seen["verdict"] == "unknown"
    assert seen["exit"] == 3
    assert "calls cannot be intercepted here" in seen["reason"]
    assert "Operation not permitted" in seen["reason"]
    points, tested, label = seen["faults"]["kill"]
    assert 0 < tested == points
    assert label.startswith("timer instead of kill")


def test_where_seccomp_is_refused_a_torn_output_is_still_found(place):
    """Random moments of wall time find what is torn for a long time."""
    seen = explored(place, TORN, "refuse")
    assert seen["verdict"] == "violated"
    assert seen["kinds"] == ["torn-output"]


def _python_for_nobody():
    """Find an interpreter that an unprivileged user may run with our dependencies."""
    for python in (sys.executable, "/usr/bin/python3"):
        check = [python, "-c", "import sys, psutil, outlive_harness; assert sys.version_info >= (3, 11)"]
        try:
            subprocess.run(
                check, check=True, capture_output=True, user=NOBODY, group=NOBODY, extra_groups=[],
                env={**os.environ, "PYTHONPATH": paths()}, cwd="/",
            )  # fmt: skip
        except (OSError, subprocess.CalledProcessError):
            continue
        return python
    return None


@pytest.mark.skipif(os.getuid() != 0, reason="this user is unprivileged already: every test is this one")
def test_an_unprivileged_user_gets_the_whole_harness(place):
    """Every kill point, the recoveries and the verdict, with no capability at all."""
    python = _python_for_nobody()
    if python is None:
        pytest.skip(
            "no Python here that user 65534 may run with psutil; test_intercept has the part without it"
        )
    nobody = {"user": NOBODY, "group": NOBODY, "extra_groups": [], "cwd": "/"}
    seen = explored(place, GOOD, "plain", python=python, **nobody)
    assert (seen["uid"], seen["verdict"]) == (NOBODY, "held"), seen
    assert seen["faults"]["kill"][0] == 3
    seen = explored(place, TORN, "plain", python=python, **nobody)
    assert seen["kinds"] == ["torn-output"]
