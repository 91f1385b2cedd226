"""Standard output and standard error: they print any name, and a run survives their failure."""

from __future__ import annotations

import io
import os
import sys
from typing import TYPE_CHECKING

from outlive_harness.results.scenario import ScenarioError

if TYPE_CHECKING:
    from typing_extensions import Buffer


def make_robust() -> None:
    """Let the standard streams escape characters that they cannot encode, and outlive their readers."""
    for name in ("stdout", "stderr"):
        stream = getattr(sys, name)
        if stream is None:  # closed by our starter
            setattr(sys, name, open(os.devnull, "w"))  # noqa: SIM115 - until this process ends
        elif stream is getattr(sys, f"__{name}__") and isinstance(stream, io.TextIOWrapper):
            setattr(sys, name, _opened_again(stream, name))
        elif isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="backslashreplace")


def raise_failures() -> None:
    """Flush the standard streams, and raise the error of the first that failed.

    Raises:
        ScenarioError: a stream could not be written.
        BrokenPipeError: its reader is gone.
    """
    for stream in (sys.stdout, sys.stderr):
        stream.flush()
        raw = getattr(getattr(stream, "buffer", None), "raw", None)
        if isinstance(raw, _Descriptor) and raw.error is not None:
            raise raw.error


class _Descriptor(io.FileIO):
    """A standard stream that is closed at its first failure; the run goes on, and writes its other reports.

    Attributes:
        label: its name in a message.
        error: the failure, to be raised at the end.
    """

    label = ""
    error: OSError | ScenarioError | None = None

    def write(self, data: Buffer, /) -> int:
        try:
            return super().write(data)
        except OSError as error:
            os.dup2(os.open(os.devnull, os.O_WRONLY), self.fileno())
            self.error = error
            if not isinstance(error, BrokenPipeError):
                why = error.strerror or error
                self.error = ScenarioError(f"{self.label} cannot be written: {why}")
            return memoryview(data).nbytes


def _opened_again(stream: io.TextIOWrapper, name: str) -> io.TextIOWrapper:
    """Return a stream on the same descriptor that escapes what it cannot encode, and keeps its failure."""
    stream.flush()
    raw = _Descriptor(stream.fileno(), "w", closefd=False)
    raw.label = {"stdout": "standard output", "stderr": "standard error"}[name]
    return io.TextIOWrapper(
        io.BufferedWriter(raw),
        encoding=stream.encoding,
        errors="backslashreplace",
        line_buffering=stream.line_buffering,
        write_through=stream.write_through,
    )
