"""Fixtures of the harness's own tests."""

import json
import subprocess
import sys
import textwrap
from pathlib import Path
from types import SimpleNamespace

import pytest

from outlive_harness.explore.engine import explore
from outlive_harness.jobs.session import Session
from outlive_harness.results.options import Options
from outlive_harness.results.scenario_files import load_file

PREAMBLE = """
import os, sys, time, tempfile
from pathlib import Path
from outlive_harness import scenario

def put(path, text):
    path = Path(path)
    path.parent.mkdir(exist_ok=True)
    with tempfile.NamedTemporaryFile("w", dir=path.parent, delete=False) as f:
        f.write(text)
    os.replace(f.name, path)
"""
OBSERVE = Path(__file__).with_name("_observe.py")


@pytest.fixture
def box(tmp_path):
    """An empty directory for a run, anyone's to write."""
    place = tmp_path / "box"
    place.mkdir()
    place.chmod(0o777)
    return place


@pytest.fixture
def observe(box):
    """Run a program under the supervisor, in a process of its own; return what was seen.

    Keywords: crash_at (number of the op to crash before), data, timeout, plain (not intercepted),
    kill_after, uid (drop to it first), refuse (seccomp fails with EPERM), env, instant (of the wall clock),
    since (from which times of files are lent).
    """

    def run(*argv, **wish):
        request = json.dumps({"argv": [str(part) for part in argv], "box": str(box), **wish})
        done = subprocess.run(
            [sys.executable, "-P", str(OBSERVE), request],
            capture_output=True,
            text=True,
            timeout=120,
            check=False,
        )
        assert done.returncode == 0, done.stderr
        return SimpleNamespace(**json.loads(done.stdout))

    return run


@pytest.fixture(scope="session")
def session():
    """Two workers that the tests of one process share."""
    with Session(jobs=2) as shared:
        yield shared


@pytest.fixture
def explored(tmp_path, session):
    """Write a scenario file, explore it, and return the RunResult; keywords are Options' fields."""

    def run(source, *, within=None, observer=None, **options):
        path = tmp_path / f"scenarios_{len(list(tmp_path.glob('*.py')))}.py"
        path.write_text(PREAMBLE + textwrap.dedent(source))
        options.setdefault("store", tmp_path / ".outlive")
        return explore(within or session, load_file(path), Options(**options), observer)

    return run


@pytest.fixture
def one(explored):
    """As explored, for a file of one scenario: return its ScenarioResult."""

    def run(source, **options):
        (result,) = explored(source, **options).scenarios
        return result

    return run


@pytest.fixture
def sabotage(tmp_path, monkeypatch):
    """Make every worker process that is started from now on run the code first."""

    def arm(code):
        place = tmp_path / "sabotage"
        place.mkdir()
        body = textwrap.indent(textwrap.dedent(code), "    ")
        (place / "sitecustomize.py").write_text(
            f"import sys\nif 'outlive_harness.trial.worker' in sys.orig_argv:\n{body}\n"
        )
        monkeypatch.setenv("PYTHONPATH", str(place))

    return arm
