"""The command line. It calls explore and the reports, and nothing deeper."""

from __future__ import annotations

import contextlib
import io
import os
import signal
import sys
import traceback
from collections.abc import Iterator, Sequence
from importlib import import_module
from typing import TYPE_CHECKING

import click

from outlive_harness import __version__
from outlive_harness.explore.results import Exit
from outlive_harness.explore.session import NoRoomError, WorkerDiedError
from outlive_harness.explore.waiting import HarnessError, LostError
from outlive_harness.plan import PlanError
from outlive_harness.scenario import ScenarioError

from .words import complain

if TYPE_CHECKING:
    from typing_extensions import Buffer


def run(arguments: Sequence[str] | None = None) -> int:
    """Carry out one command line and return its exit status."""
    _print_anything()
    try:
        with _stoppable():
            return _checked(sys.argv[1:] if arguments is None else arguments)
    except KeyboardInterrupt:
        complain("interrupted")
        return Exit.INTERRUPTED
    except BrokenPipeError:
        return Exit.READER_GONE
    except (NoRoomError, LostError) as error:
        complain(f"unknown: {error}")
        return Exit.UNKNOWN
    except (HarnessError, WorkerDiedError) as error:
        return _fault_of_ours(str(error))  # the traceback in it is the one that says what broke
    except Exception:  # noqa: BLE001 - the last line of defence, with its own status
        return _fault_of_ours(traceback.format_exc(limit=-6))


def _checked(arguments: Sequence[str]) -> int:
    """Carry out a command line; where it asks for what is not to be had, say so."""
    try:
        status = _carry_out(arguments)
        _demand_written()
    except click.ClickException as error:
        error.show()
        return Exit.USAGE
    except (ScenarioError, PlanError) as error:
        complain(str(error))
        return Exit.USAGE
    return status


def _carry_out(arguments: Sequence[str]) -> int:
    # Not main.main(): it exits with 1 where a pipe breaks, and takes an EOFError for an interrupt.
    try:
        with main.make_context("outlive", list(arguments)) as context:
            return int(main.invoke(context) or 0)
    except click.exceptions.Exit as end:  # --help, --version
        return end.exit_code


def _print_anything() -> None:
    """Let no name that is not to be encoded end a run."""
    for name in ("stdout", "stderr"):
        stream = getattr(sys, name)
        if stream is None:  # closed by who started us
            setattr(sys, name, open(os.devnull, "w"))  # noqa: SIM115 - for as long as we run
        elif stream is getattr(sys, f"__{name}__") and isinstance(stream, io.TextIOWrapper):
            setattr(sys, name, _opened_again(stream, name))
        elif isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="backslashreplace")


class _Descriptor(io.FileIO):
    """A standard stream that is given up where it fails: what is found is still to be written elsewhere.

    Attributes:
        words: how it is called.
        trouble: what it failed with, to be raised at the end.
    """

    words = ""
    trouble: OSError | ScenarioError | None = None

    def write(self, data: Buffer, /) -> int:
        try:
            return super().write(data)
        except OSError as error:
            os.dup2(os.open(os.devnull, os.O_WRONLY), self.fileno())
            self.trouble = error
            if not isinstance(error, BrokenPipeError):
                why = error.strerror or error
                self.trouble = ScenarioError(f"{self.words} cannot be written: {why}")
            return memoryview(data).nbytes


def _demand_written() -> None:
    """Raise what a standard stream has failed with."""
    for stream in (sys.stdout, sys.stderr):
        stream.flush()
        raw = getattr(getattr(stream, "buffer", None), "raw", None)
        if isinstance(raw, _Descriptor) and raw.trouble is not None:
            raise raw.trouble


def _opened_again(stream: io.TextIOWrapper, name: str) -> io.TextIOWrapper:
    """Return a standard stream that names any character, and itself where it fails."""
    stream.flush()
    raw = _Descriptor(stream.fileno(), "w", closefd=False)
    raw.words = {"stdout": "standard output", "stderr": "standard error"}[name]
    return io.TextIOWrapper(
        io.BufferedWriter(raw),
        encoding=stream.encoding,
        errors="backslashreplace",
        line_buffering=stream.line_buffering,
        write_through=stream.write_through,
    )


@contextlib.contextmanager
def _stoppable() -> Iterator[None]:
    """Take a request to end for Ctrl-C, and only once: what is started must be ended, too."""

    def stop(_number: int, _frame: object) -> None:
        for number in wanted:
            signal.signal(number, signal.SIG_IGN)
        raise KeyboardInterrupt

    several = [getattr(signal, name) for name in ("SIGINT", "SIGTERM", "SIGHUP") if hasattr(signal, name)]
    # What our starter ignores, as nohup does, stays ignored.
    wanted = [number for number in several if signal.getsignal(number) != signal.SIG_IGN]
    before = [signal.signal(number, stop) for number in wanted]
    try:
        yield
    finally:
        for number, handler in zip(wanted, before, strict=True):
            signal.signal(number, handler)


def _fault_of_ours(what: str) -> Exit:
    click.echo(what.rstrip(), err=True)
    complain("this is a fault of ours, not of your pipeline; please report it")
    return Exit.FAULT_OF_OURS


class _Commands(click.Group):
    """Commands that are modules of this package, each imported where it is asked for."""

    def list_commands(self, _context: click.Context) -> list[str]:
        return ["check", "doctor", "new", "replay", "state", "test"]

    def get_command(self, context: click.Context, name: str) -> click.Command | None:
        if name not in self.list_commands(context):
            return None
        command = import_module(f"{__name__}.{name}").command
        assert isinstance(command, click.Command)
        return command


@click.group(
    cls=_Commands, context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 100}
)
@click.version_option(__version__, prog_name="outlive")
def main() -> None:
    """Kill a pipeline at every point where its files can differ, and prove that it recovers.

    Exit status: 0 held, 1 violated, 2 usage, 3 unknown, 70 a fault of ours, 130 interrupted.
    """
    try:
        os.getcwd()
    except OSError as error:
        raise ScenarioError(f"the working directory is gone: {error.strerror or error}") from error
