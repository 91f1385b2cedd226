"""A pipeline run in one worker's box: its body, its setup and its check."""

from __future__ import annotations

import json
import os
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import NoReturn

from outlive_harness.disk.mounts import Mount, below, detach
from outlive_harness.intercept.made import Made
from outlive_harness.intercept.supervisor import GO, Answer
from outlive_harness.launch import traced
from outlive_harness.launch.exec import InterceptionRefusedError
from outlive_harness.launch.options import Host, Program, RunOptions, Visit
from outlive_harness.launch.pool import BODY, CHECK, ZygotePool
from outlive_harness.launch.run import FinishedRun, run
from outlive_harness.launch.zygote import Preload, ZygoteError
from outlive_harness.results.ops import Op
from outlive_harness.results.run_spec import HOME, TMP, RunSpec

from .box import Box, BoxError
from .checks import CheckResult, check_result

#: How a setup and a check are run.
_HELPER = RunOptions(timeout=300.0)
_HELPER_THAT_TELLS = RunOptions(timeout=300.0, visit=lambda _op, _number: GO, reads=True)


class Runner:
    """Runs pipelines in one box.

    Args:
        place: the worker's private directory.
        control: a descriptor whose hang-up abandons the run that is under way.

    Attributes:
        box: the box.
    """

    def __init__(self, place: Path, *, control: int | None = None) -> None:
        self.box = Box(place)
        self._zygotes = ZygotePool()
        self._control = control
        #: temporary files outside the box that killed runs left
        self._left = Made()

    # -- what is run ---------------------------------------------------------------------------------

    def prepare(self, spec: RunSpec, template: Path) -> list[str]:
        """Make the template that every box of a pipeline starts from: directories, input, setup.

        Returns:
            The paths outside the box that the setup opened or executed, as far as that could be seen.

        Raises:
            BoxError: the input does not exist, the setup fails, ...
        """
        source = None if spec.source is None else Path(spec.source)
        if source is not None and not source.is_dir():
            raise BoxError(f"the input {source} is not a directory")
        if source is not None and self.box.place.resolve().is_relative_to(source.resolve()):
            raise BoxError(f"the input {source} holds the boxes themselves; give --box-dir outside it")
        self.box.unchanged.distrust()  # it is the user's, and may have changed since it was copied last
        self.box.fill(source, is_users=True)
        for name in (TMP, HOME):
            (self.box.path / name).mkdir(exist_ok=True)
        read: list[str] = []
        if spec.setup:
            ran = self._telling(spec, spec.setup) or self._launch(spec, spec.setup, None, _HELPER)
            read = ran.reads
            if ran.failure():
                raise BoxError(f"setup {ran.failure()}\n{ran.told}".rstrip())
        self.box.keep(template)
        return read

    def run(self, spec: RunSpec, options: RunOptions) -> FinishedRun:
        """Run the pipeline on the box as it is. See launch.run for what is raised.

        Where a zygote was chosen, the run is forked from it, unless the run is to show what it reads, is not
        intercepted, or is to leave in a file where it is.
        """
        argv = tuple(traced.command(spec.argv)) if options.stacks else spec.argv
        role = None if options.reads or options.visit is None or options.stacks else BODY
        syncs = options.syncs or self.box.is_in_memory
        promises = options.promises or bool(options.data)
        options = replace(options, syncs=syncs, promises=promises)
        return self._launch(spec, argv, role, options, acks=spec.acks)

    def check(self, spec: RunSpec, acks: Sequence[str] = (), *, reads: bool = False) -> CheckResult:
        """Run the pipeline's check on the box; *reads* is whether to show what the check reads."""
        if spec.check_takes_acks:
            self._acks.write_text(json.dumps(list(acks)))
        self._said.unlink(missing_ok=True)
        argv = self._check_argv(spec)
        ran = self._telling(spec, argv) if reads else None
        if ran is None:
            ran = self._launch(spec, argv, CHECK, _HELPER)
        said = check_result(self._said, ran)
        value = self.box.without_path(os.fsencode(said.value))
        places = f"{self.box.place}/", f"{os.path.realpath(self.box.place)}/"
        read = [path for path in said.reads if not path.startswith(places)]  # what it is handed is no input
        return replace(said, value=os.fsdecode(value), reads=read)

    def _check_argv(self, spec: RunSpec) -> tuple[str, ...]:
        assert spec.check is not None
        acks = (str(self._acks),) if spec.check_takes_acks else ()
        return (*spec.check, str(self._said), *acks)

    @property
    def _acks(self) -> Path:
        """Where a check reads what was acknowledged."""
        return self.box.place / "acks"

    @property
    def _said(self) -> Path:
        """Where a check writes what came of it."""
        return self.box.place / "checked"

    def _telling(self, spec: RunSpec, argv: tuple[str, ...]) -> FinishedRun | None:
        """Execute a setup or a check that shows what it reads; None where that cannot be seen."""
        try:
            return self._launch(spec, argv, None, _HELPER_THAT_TELLS)
        except InterceptionRefusedError:
            return None

    # -- how it is run -------------------------------------------------------------------------------

    def _launch(
        self, spec: RunSpec, argv: tuple[str, ...], role: str | None, options: RunOptions, *, acks: str = ""
    ) -> FinishedRun:
        """Run one of a pipeline's programs: forked from the zygote for its role, if one was chosen."""
        box = self.box
        command, cwd = spec.command(argv, box.path)
        environment = spec.environment(box.path, argv)
        if options.stacks:
            environment = traced.environment(environment, options.stacks)
        if box.unchanged:
            if options.visit is None:
                box.unchanged.distrust()
            else:
                options = replace(options, visit=self._noting(options.visit))
        program = Program(
            command,
            cwd,
            environment,
            box.path,
            acks=acks,
            guarded=spec.own,
            tmp=TMP if spec.tmp == "other" else "",
        )
        while True:
            try:
                return self._ran(replace(program, zygote=self._zygotes.of(spec, role)), options)
            except ZygoteError as error:
                self._zygotes.failed(role, error)

    def _ran(self, program: Program, options: RunOptions) -> FinishedRun:
        """Run a program; what it leaves mounted in its box is unmounted, and an error."""
        place = self.box.place
        mounts = below(place)  # the box itself, where it is on a real file system
        try:
            ran = run(program, options, Host(self._control, self.spared, self._left))
        finally:
            mounted = detach(place, mounts)
        if mounted:
            self._refuse_mounts(mounted[0], mounts)
        if ran.blind:
            self.box.unchanged.distrust()
        if ran.failure():  # its words are shown when no box is there any more
            ran.stdout, ran.stderr = self.box.as_told(ran.stdout), self.box.as_told(ran.stderr)
        return ran

    def _refuse_mounts(self, point: str, before: list[Mount]) -> NoReturn:
        """Say what a run left mounted in its box: that is neither a state of it nor ours to remove."""
        what = f"the pipeline left something mounted in its box, at {os.path.relpath(point, self.box.path)}"
        if below(self.box.place) != before:
            raise BoxError(f"{what}; it cannot be unmounted, and nothing there was touched: unmount {point}")
        raise BoxError(f"{what}: what lies there is not judged; it was unmounted")

    def _noting(self, visit: Visit) -> Visit:
        """Note what ops are about, while a run makes them."""

        def noting(op: Op, number: int) -> Answer:
            self.box.unchanged.note(op)
            return visit(op, number)

        return noting

    # -- zygotes -------------------------------------------------------------------------------------

    @property
    def spared(self) -> list[int]:
        """Processes that are no part of any run."""
        return self._zygotes.pids

    @property
    def fell_back(self) -> str:
        """Why a zygote that was chosen could not serve, so that exec did; "" if each could."""
        return self._zygotes.fell_back

    @fell_back.setter
    def fell_back(self, why: str) -> None:
        self._zygotes.fell_back = why

    def is_warm(self, spec: RunSpec) -> bool:
        """Return whether runs of a pipeline are forked from a zygote."""
        return self._zygotes.is_warm(spec)

    def warm(self, spec: RunSpec, preload: Preload, role: str = BODY) -> tuple[str, ...]:
        """Have a zygote for a pipeline from here on; return the modules that it cannot have imported.

        Raises:
            ZygoteError: there can be none.
        """
        argv = spec.argv if role == BODY else self._check_argv(spec)
        return self._zygotes.warm(spec, argv, self.box.path, preload, role)

    def choose_start(self, spec: RunSpec, preload: Preload | None, check: Preload | None = None) -> None:
        """Have zygotes that stand in for exec, where there is anything to preload and they can be had."""
        self.cool()
        for role, wanted in ((BODY, preload), (CHECK, check)):
            if wanted is not None:
                self.box.path.mkdir(exist_ok=True)
                try:
                    self.warm(spec, wanted, role)
                except ZygoteError as error:
                    self.fell_back = str(error)

    def cool(self) -> None:
        """Execute what is run from here on."""
        self._zygotes.cool()

    # -- its end -------------------------------------------------------------------------------------

    def remove_left(self) -> None:
        """Remove the temporary files that killed runs left outside the box: the recovery is over."""
        self._left.remove()

    def clear(self) -> None:
        """End the zygotes; remove the worker's directory and all in it."""
        self._zygotes.close()
        self.box.clear()
