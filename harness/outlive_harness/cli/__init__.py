"""The command line: one module for each command, and what the commands share.

A command reads its options, lets ``explore`` do the work, hands the results to the reports, and returns an
exit status. This room may import ``report`` and everything below, but not ``pytest_support``, the other door.
What pytest needs as well never comes in.
"""

from __future__ import annotations

import contextlib
import os
import signal
import sys
import traceback
from collections.abc import Iterator, Sequence
from importlib import import_module

import click

from outlive_harness import __version__
from outlive_harness.jobs.session import NoRoomError, WorkerDiedError
from outlive_harness.jobs.tasks import GivenUpError, HarnessError
from outlive_harness.results.plan import PlanError
from outlive_harness.results.scenario import ScenarioError
from outlive_harness.results.verdicts import Exit

from .completion import VARIABLE, complete
from .streams import make_robust, raise_failures
from .words import complain


def run(arguments: Sequence[str] | None = None) -> int:
    """Carry out one command line and return its exit status."""
    make_robust()
    try:
        with _stoppable():
            return _checked(sys.argv[1:] if arguments is None else arguments)
    except KeyboardInterrupt:
        complain("interrupted")
        return Exit.INTERRUPTED
    except BrokenPipeError:
        return Exit.READER_GONE
    except (NoRoomError, GivenUpError) as error:
        complain(f"unknown: {error}")
        return Exit.UNKNOWN
    except (HarnessError, WorkerDiedError) as error:
        return _fault_of_ours(str(error))  # it holds the traceback that matters
    except ImportError:  # commands are imported when they are needed; the console script says what to install
        raise
    except Exception:  # noqa: BLE001 - the last line of defence, with its own status
        return _fault_of_ours(traceback.format_exc(limit=-6))


def _checked(arguments: Sequence[str]) -> int:
    """Carry out a command line, or propose how it goes on; print an error of usage, and return its status."""
    if VARIABLE in os.environ:
        return complete(main, os.environ[VARIABLE])
    try:
        status = _carry_out(arguments)
        raise_failures()
    except click.ClickException as error:
        error.show()
        return Exit.USAGE
    except (ScenarioError, PlanError) as error:
        complain(str(error))
        return Exit.USAGE
    return status


def _carry_out(arguments: Sequence[str]) -> int:
    # Not main.main(): it exits with 1 if a pipe breaks, and takes an EOFError for an interrupt.
    try:
        with main.make_context("outlive", list(arguments)) as context:
            return int(main.invoke(context) or 0)
    except click.exceptions.Exit as end:  # --help, --version
        return end.exit_code


@contextlib.contextmanager
def _stoppable() -> Iterator[None]:
    """Treat SIGTERM and SIGHUP as Ctrl-C. Only the first interrupts: nothing may cut short the clean-up."""

    def stop(_number: int, _frame: object) -> None:
        for number in wanted:
            signal.signal(number, signal.SIG_IGN)
        raise KeyboardInterrupt

    several = [getattr(signal, name) for name in ("SIGINT", "SIGTERM", "SIGHUP") if hasattr(signal, name)]
    # A signal that our starter ignores, as nohup does, stays ignored.
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
    """Commands that are modules of this package; each is imported when it is needed."""

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

    Options of check and test that are always the same may stand in pyproject.toml, as keys of [tool.outlive];
    outlive doctor says which file was read.

    Completion with the Tab key, in ~/.bashrc: eval "$(_OUTLIVE_COMPLETE=bash_source outlive)"; there are
    zsh_source and fish_source as well.

    Exit status: 0 held, 1 violated, 2 usage, 3 unknown, 70 a fault of ours, 130 interrupted.
    """
    try:
        os.getcwd()
    except OSError as error:
        raise ScenarioError(f"the working directory is gone: {error.strerror or error}") from error
