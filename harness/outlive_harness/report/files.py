"""Files of reports: each appears whole or not at all, unless it is a stream."""

from __future__ import annotations

import errno
import fcntl
import os
import re
import stat
import sys
import tempfile
from collections.abc import Callable, Mapping
from importlib import import_module
from pathlib import Path
from typing import NamedTuple

from outlive import atomic_write
from outlive_harness.results.scenario import ScenarioError
from outlive_harness.results.verdicts import RunResult

#: The option of each report, and the module that makes its text, imported if the report is asked for.
WRITERS = {"json": "json_report", "html": "html_report", "junit": "junit", "sarif": "sarif"}


class ReportFile(NamedTuple):
    """A report that was asked for: its option, and its path; None for standard output."""

    option: str
    target: Path | None

    def check(self) -> None:
        """Return if the report can be written: a run may take hours before it is.

        Raises:
            ScenarioError: it cannot be written.
        """
        self._try(check_target)

    def write(self, result: RunResult) -> None:
        """Write the report of a run.

        Raises:
            ScenarioError: it cannot be written.
        """
        made: Callable[[RunResult], str] = import_module(f"{__package__}.{WRITERS[self.option]}").as_text
        self.put(made(result))

    def put(self, text: str) -> None:
        """Write a text as the report.

        Raises:
            ScenarioError: it cannot be written.
        """
        if self.target is None:
            sys.stdout.write(text)
            sys.stdout.flush()
        self._try(lambda path: write_text(path, text))

    def _try(self, step: Callable[[Path], None]) -> None:
        if self.target is None:
            return
        try:
            step(self.target)
        except OSError as error:
            why = error.strerror or error
            raise ScenarioError(f"--{self.option}={str(self.target)!r} cannot be written: {why}") from error


def asked_for(targets: Mapping[str, str | None]) -> list[ReportFile]:
    """Return the reports that were asked for.

    Args:
        targets: for each option its value: a path, "-" for standard output, None if it was not given.

    Raises:
        ScenarioError: two reports have the same path.
    """
    several = [
        ReportFile(option, None if target == "-" else Path(target).absolute())
        for option, target in targets.items()
        if target is not None
    ]
    places: dict[str, ReportFile] = {}
    for one in several:
        if one.target is not None and _is_stream(one.target):
            continue
        other = places.setdefault("-" if one.target is None else os.path.realpath(one.target), one)
        if other is not one:
            raise ScenarioError(f"--{other.option} and --{one.option} name one file: {targets[one.option]!r}")
    return several


def check_target(path: Path) -> None:
    """Return if a report can be written to a path.

    Raises:
        OSError: it cannot be written; ``strerror`` says why.
    """
    if path.is_dir():
        raise IsADirectoryError(errno.EISDIR, os.strerror(errno.EISDIR), str(path))
    number = _descriptor(path)
    if number is not None:
        if fcntl.fcntl(number, fcntl.F_GETFL) & os.O_ACCMODE == os.O_RDONLY:
            raise OSError(errno.EBADF, os.strerror(errno.EBADF), str(path))
    elif _is_stream(path):
        # Not opened yet: closing it would end the stream for its reader.
        if not os.access(path, os.W_OK):
            raise PermissionError(errno.EACCES, os.strerror(errno.EACCES), str(path))
    else:
        with tempfile.TemporaryFile(dir=os.path.dirname(os.path.realpath(path))):
            pass


def write_text(path: Path, text: str) -> None:
    """Write a report to a file, whole or not at all, or to a pipe or a device.

    Raises:
        OSError: it cannot be written.
    """
    number = _descriptor(path)
    if number is not None:
        sys.stdout.flush()
        sys.stderr.flush()  # earlier output comes first
        # Opened by its name, it would be written from the start of the file behind the descriptor.
        with os.fdopen(os.dup(number), "w", encoding="utf-8") as stream:
            stream.write(text)
    elif _is_stream(path):
        with path.open("a", encoding="utf-8") as stream:
            stream.write(text)
    else:
        atomic_write(path, text)


def _is_stream(path: Path) -> bool:
    """Return whether a path must not be replaced by a file: ``/dev/null``, a FIFO, a descriptor."""
    if _opened(path) is not None:
        return True
    return path.exists() and not path.is_dir() and not stat.S_ISREG(path.stat().st_mode)


#: The real path of a descriptor of a process.
_OPENED = re.compile(r"/proc/([0-9]+)(?:/task/[0-9]+)?/fd/([0-9]+)")
#: How many links in a row the kernel follows.
_LINKS = 40


def _descriptor(path: Path) -> int | None:
    """Return the descriptor of this process that a path means, as ``/dev/stdout`` does; None if none."""
    process, number = _opened(path) or (0, 0)
    return number if process == os.getpid() else None


def _opened(path: Path) -> tuple[int, int] | None:
    """Return the process and the descriptor that a path leads to; None if it leads to none."""
    text = str(path)
    for _ in range(_LINKS):
        directory, name = os.path.split(text)
        text = os.path.join(os.path.realpath(directory), name)
        match = _OPENED.fullmatch(text)
        if match:
            return int(match[1]), int(match[2])
        try:
            text = os.path.join(directory, os.readlink(text))
        except OSError:
            return None
    return None
