"""Where a report goes: a file that appears whole or not at all, or a stream."""

from __future__ import annotations

import errno
import os
import stat
import tempfile
from pathlib import Path

from outlive import atomic_write


def check_target(path: Path) -> None:
    """Find out that the report cannot be written before the work that it is about is done.

    Raises:
        OSError: it cannot; ``strerror`` says why.
    """
    if path.is_dir():
        raise IsADirectoryError(errno.EISDIR, os.strerror(errno.EISDIR), str(path))
    if _is_stream(path):
        # Not opened yet: closing it again would be the end of the stream for who reads it.
        if not os.access(path, os.W_OK):
            raise PermissionError(errno.EACCES, os.strerror(errno.EACCES), str(path))
    else:
        with tempfile.TemporaryFile(dir=os.path.dirname(os.path.realpath(path))):
            pass


def write_text(path: Path, text: str) -> None:
    """Write a report to a file, whole or not at all; to a pipe or a device as it comes.

    Raises:
        OSError: it cannot be written.
    """
    if _is_stream(path):
        path.write_text(text)
    else:
        atomic_write(path, text)


def _is_stream(path: Path) -> bool:
    """Tell what must not be replaced by a file: ``/dev/null``, a FIFO, ``>(command)`` of a shell."""
    return path.exists() and not path.is_dir() and not stat.S_ISREG(path.stat().st_mode)
