"""Fixtures of the library's tests."""

import errno
import os
import stat

import pytest

from outlive._atomic import files as _files


@pytest.fixture(params=["in one row", "step by step"])
def both_ways(request, monkeypatch):
    """Run a test with atomic_write's row of system calls, and with what does all that is not usual."""
    if request.param == "step by step":
        monkeypatch.setattr(_files, "fast_write", lambda *_: False)
    return request.param


@pytest.fixture(params=["files", "sqlite"])
def store(request):
    """Each store of marks."""
    return request.param


@pytest.fixture
def refuse_fsync(monkeypatch):
    """Let the fsync of files or of directories fail; give the list of those that were tried."""

    def refuse(*, on_directory, code=errno.EIO):
        tried = []
        fsync = os.fsync

        def fail(descriptor):
            is_directory = stat.S_ISDIR(os.fstat(descriptor).st_mode)
            tried.append("directory" if is_directory else "file")
            if is_directory == on_directory:
                raise OSError(code, os.strerror(code))
            fsync(descriptor)

        monkeypatch.setattr(os, "fsync", fail)
        return tried

    return refuse


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
