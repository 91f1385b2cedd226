"""Runs that are executed: whatever stops their start leaves nothing behind."""

import os
import socket
from pathlib import Path

import psutil
import pytest

from outlive_harness.launch import exec as launch


def test_a_start_that_is_broken_off_leaves_no_process_and_no_descriptor(tmp_path, monkeypatch):
    """An error while the child's answer is awaited ends the child, too."""

    def broken(*_):
        raise MemoryError

    monkeypatch.setattr(socket, "recv_fds", broken)
    children, descriptors = psutil.Process().children(), set(Path("/proc/self/fd").iterdir())
    with pytest.raises(MemoryError):
        launch.start(["sleep", "60"], cwd=tmp_path, env=os.environ)
    assert psutil.Process().children() == children
    assert set(Path("/proc/self/fd").iterdir()) == descriptors
