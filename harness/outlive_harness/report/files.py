"""The files that a run is told in: each appears whole or not at all, or is a stream."""

from __future__ import annotations

import errno
import os
import stat
import tempfile
from collections.abc import Callable, Mapping
from importlib import import_module
from pathlib import Path
from typing import NamedTuple

from outlive import atomic_write
from outlive_harness.explore.results import RunResult
from outlive_harness.scenario import ScenarioError

#: The option of each report, and the module that makes its text; imported where it is asked for.
WRITERS = {"json": "json_report", "html": "html_report", "junit": "junit", "sarif": "sarif"}


class ReportFile(NamedTuple):
    """One of them: its option, and where it goes."""

    option: str
    target: Path

    def check(self) -> None:
        """Find out that it cannot be written before the work that it is about is done.

        Raises:
            ScenarioError: it cannot.
        """
        self._try(check_target)

    def write(self, result: RunResult) -> None:
        """Write it.

        Raises:
            ScenarioError: it cannot be written.
        """
        made: Callable[[RunResult], str] = import_module(f"{__package__}.{WRITERS[self.option]}").as_text
        self._try(lambda path: write_text(path, made(result)))

    def _try(self, step: Callable[[Path], None]) -> None:
        try:
            step(self.target)
        except OSError as error:
            why = error.strerror or error
            raise ScenarioError(f"--{self.option}={str(self.target)!r} cannot be written: {why}") from error


def asked_for(targets: Mapping[str, str | None]) -> list[ReportFile]:
    """Return the files that were asked for, by option; - is for the caller to write."""
    return [
        ReportFile(option, Path(target).absolute())
        for option, target in targets.items()
        if target not in (None, "-")
    ]


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
