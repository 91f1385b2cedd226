"""Fixtures of the tests of golden runs."""

import pytest

from outlive_harness import scenario
from outlive_harness.explore.engine import explore
from outlive_harness.results.options import Options
from outlive_harness.results.scenario import NO_FILE


@pytest.fixture
def check(tmp_path, session, monkeypatch):
    """Check a command as a user does who stands in the directory of the test; return the result."""

    def run(*command, **keywords):
        monkeypatch.chdir(tmp_path)
        made = scenario(command=command, name="it", **keywords)
        made.file = str(tmp_path / NO_FILE)
        (result,) = explore(session, [made], Options(store=tmp_path / ".outlive")).scenarios
        return result

    return run
