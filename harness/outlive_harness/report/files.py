"""The files that a run is told in: each appears whole or not at all, or is a stream."""

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

#: The option of each report, and the module that makes its text; imported where it is asked for.
WRITERS = {"json": "json_report", "html": "html_report", "junit": "junit", "sarif": "sarif"}


class ReportFile(NamedTuple):
    """One of them: its option, and where it goes; None is standard output."""

    option: str
    target: Path | None

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
        self.put(made(result))

    def put(self, text: str) -> None:
        """Write a text that is made already.

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
    """Return the files that were asked for, by option.

    Raises:
        ScenarioError: two of them are one.
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
            raise ScenarioError(f"--{other.option} and --{one.option} are one file: {targets[one.option]!r}")
    return several


def check_target(path: Path) -> None:
    """Find out that the report cannot be written before the work that it is about is done.

    Raises:
        OSError: it cannot; ``strerror`` says why.
    """
    if path.is_dir():
        raise IsADirectoryError(errno.EISDIR, os.strerror(errno.EISDIR), str(path))
    number = _descriptor(path)
    if number is not None:
        if fcntl.fcntl(number, fcntl.F_GETFL) & os.O_ACCMODE == os.O_RDONLY:
            raise OSError(errno.EBADF, os.strerror(errno.EBADF), str(path))
    elif _is_stream(path):
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
    number = _descriptor(path)
    if number is not None:
        sys.stdout.flush()
        sys.stderr.flush()  # what was said before comes before
        # Opened by its name it would begin at the start of the file that it goes to.
        with os.fdopen(os.dup(number), "w", encoding="utf-8") as stream:
            stream.write(text)
    elif _is_stream(path):
        with path.open("a", encoding="utf-8") as stream:
            stream.write(text)
    else:
        atomic_write(path, text)


def _is_stream(path: Path) -> bool:
    """Tell what must not be replaced by a file: ``/dev/null``, a FIFO, what a process has open."""
    if _opened(path) is not None:
        return True
    return path.exists() and not path.is_dir() and not stat.S_ISREG(path.stat().st_mode)


#: A descriptor of a process, by its real name.
_OPENED = re.compile(r"/proc/([0-9]+)(?:/task/[0-9]+)?/fd/([0-9]+)")
#: Links in a row that the kernel follows.
_LINKS = 40


def _descriptor(path: Path) -> int | None:
    """Return which descriptor of ours a path means, as ``/dev/stdout`` does; None if none."""
    process, number = _opened(path) or (0, 0)
    return number if process == os.getpid() else None


def _opened(path: Path) -> tuple[int, int] | None:
    """Return which descriptor of which process a path leads to; None if to none."""
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
