"""Fixtures of the library's tests."""

import pytest

from outlive._atomic import files as _files


@pytest.fixture(params=["in one row", "step by step"])
def both_ways(request, monkeypatch):
    """Run a test with atomic_write's row of system calls, and with what does all that is not usual."""
    if request.param == "step by step":
        monkeypatch.setattr(_files, "fast_write", lambda *_: False)
    return request.param


@pytest.fixture
def finish():
    """Mark all pending items, each by itself, and return them."""

    def finished(items):
        found = []
        for item in items:
            with items.doing(item):
                found.append(item)
        return found

    return finished


@pytest.fixture
def step_by_step(monkeypatch):
    """Run a test of other systems, which have no such row."""
    monkeypatch.setattr(_files, "fast_write", lambda *_: False)
