"""Fixtures of the harness's own tests."""

import json
import subprocess
import sys
from pathlib import Path
from types import SimpleNamespace

import pytest

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
    kill_after, uid (drop to it first), refuse (seccomp fails with EPERM), env.
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
