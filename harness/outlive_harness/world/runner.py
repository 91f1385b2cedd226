"""A pipeline run in one worker's box: its body, its setup and its check."""

from __future__ import annotations

import contextlib
import json
import math
import os
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import NoReturn

from outlive_harness.disk.mounts import Mount, below, detach
from outlive_harness.disk.tree import Tree
from outlive_harness.intercept.file_times import FileTimes
from outlive_harness.intercept.made import Made
from outlive_harness.intercept.supervisor import GO, Answer, Ending
from outlive_harness.launch import traced
from outlive_harness.launch.exec import InterceptionRefusedError
from outlive_harness.launch.options import Host, Program, RunOptions, Visit
from outlive_harness.launch.pool import BODY, CHECK, CRASH_CHECK, ZygotePool
from outlive_harness.launch.run import FinishedRun, run
from outlive_harness.launch.zygote import Preload, ZygoteError
from outlive_harness.results.ops import Op
from outlive_harness.results.run_spec import ACKS, HOME, TMP, RunSpec, is_function

from .box import Box, BoxError, BudgetEndedError, began
from .checks import CheckResult, check_result, command_result
from .reading import Reading

#: Bytes at the end of what a check prints that are compared.
_PRINTED = 16 << 20
#: Options for a setup and a check.
_HELPER = RunOptions(timeout=300.0, keep=_PRINTED)
_HELPER_THAT_TELLS = RunOptions(timeout=300.0, keep=_PRINTED, visit=lambda _op, _number: GO, reads=True)


class Runner:
    """Runs pipelines in one box.

    Args:
        place: the worker's private directory.
        control: a descriptor whose hang-up abandons the current run.

    Attributes:
        box: the box.
    """

    def __init__(self, place: Path, *, control: int | None = None) -> None:
        self.box = Box(place)
        self.reading = Reading(self.box.boxes)
        self._zygotes = ZygotePool()
        self._control = control
        self._file_times = FileTimes(began(place))
        #: temporary files outside the box that killed runs left
        self._left = Made()
        #: wall-clock time at which a run is given up, as nobody waits for it any more; None for no limit
        self.deadline: float | None = None

    # -- a pipeline's programs -----------------------------------------------------------------------

    def prepare(self, spec: RunSpec, template: Path) -> list[str]:
        """Make the template that every box of a pipeline starts from: directories, input, setup.

        Returns:
            The paths outside the box that the setup opened or executed, if visible.

        Raises:
            BoxError: the input does not exist, the setup fails, ...
        """
        source = None if spec.source is None else Path(spec.source)
        if source is not None and not source.is_dir():
            raise BoxError(f"the input {source} is not a directory")
        if source is not None and self.box.place.resolve().is_relative_to(source.resolve()):
            raise BoxError(f"the input {source} holds the boxes themselves; give --box-dir outside it")
        if spec.instant is not None:
            self._file_times.wait()
        self.box.unchanged.distrust()  # the user may have changed the input since it was last copied
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
        self.box.unchanged.rebase(template)
        return read

    def look(self, spec: RunSpec) -> Tree:
        """Read the files of the box that are compared: outputs that have a reader by their values.

        Raises:
            BoxError: a file in it cannot be read.
        """
        return self.valued(spec, self.box.look(spec))

    def valued(self, spec: RunSpec, tree: Tree) -> Tree:
        """Return the files of the box with the values of outputs that have a reader: see Reading.valued()."""
        return self.reading.valued(spec, tree, self.box.path)

    def digest_of(self, spec: RunSpec) -> Callable[[str, str], str | None]:
        """Return the function by which whole contents of outputs are noted: see Versions."""
        return lambda full, path: self.reading.digest(spec, full, path, self.box.bytes)

    def run(self, spec: RunSpec, options: RunOptions) -> FinishedRun:
        """Run the pipeline on the box as it is; see launch.run for the errors.

        The run is forked from the chosen zygote, if there is one, unless it is to note what it reads, is not
        intercepted, or records its stacks.
        """
        argv = tuple(traced.command(spec.argv)) if options.stacks else spec.argv
        role = None if options.reads or options.visit is None or options.stacks else BODY
        syncs = options.syncs or self.box.is_in_memory
        promises = options.promises or bool(options.data)
        options = replace(options, syncs=syncs, promises=promises)
        return self._launch(spec, argv, role, options, acks=spec.acks)

    def check(
        self, spec: RunSpec, acks: Sequence[str] = (), *, reads: bool = False, role: str = CHECK
    ) -> CheckResult:
        """Run a check of the pipeline on the box.

        Args:
            spec: the pipeline.
            acks: the acknowledged values.
            reads: whether to note what the check reads.
            role: CHECK, or CRASH_CHECK for that of crash states.
        """
        argv = self._check_argv(spec, role)
        is_plain = not is_function(argv)
        # A value may hold a newline; in a line it would be two values.
        lines = "".join(one.replace("\n", "\\n") + "\n" for one in acks)
        self._acks.write_bytes(os.fsencode(lines if is_plain else json.dumps(list(acks))))
        self._said.unlink(missing_ok=True)
        ran = self._telling(spec, argv) if reads else None
        if ran is None:
            ran = self._launch(spec, argv, role, _HELPER)
        said = command_result(ran) if is_plain else check_result(self._said, ran)
        value = self.box.without_path(os.fsencode(said.value))
        places = f"{self.box.place}/", f"{os.path.realpath(self.box.place)}/"
        read = [path for path in said.reads if not path.startswith(places)]  # its arguments are not inputs
        return replace(said, value=os.fsdecode(value), reads=read)

    def _check_argv(self, spec: RunSpec, role: str) -> tuple[str, ...]:
        argv, takes_acks = spec.check, spec.check_takes_acks
        if role == CRASH_CHECK:
            argv, takes_acks = spec.crash_check, spec.crash_check_takes_acks
        assert argv is not None
        if not is_function(argv):
            return tuple(part.replace(ACKS, str(self._acks)) for part in argv)
        return (*argv, str(self._said), *([str(self._acks)] if takes_acks else []))

    @property
    def _acks(self) -> Path:
        """The file from which a check reads the acknowledgements."""
        return self.box.place / "acks"

    @property
    def _said(self) -> Path:
        """The file to which a check writes its result."""
        return self.box.place / "checked"

    def _telling(self, spec: RunSpec, argv: tuple[str, ...]) -> FinishedRun | None:
        """Execute a setup or a check and note what it reads; None if that is not visible."""
        try:
            return self._launch(spec, argv, None, _HELPER_THAT_TELLS)
        except InterceptionRefusedError:
            return None

    @contextlib.contextmanager
    def due(self, until: float | None) -> Iterator[None]:
        """Give up each run of the body at a wall-clock time; None for no limit."""
        self.deadline = until
        try:
            yield
        finally:
            self.deadline = None

    # -- running one of them -------------------------------------------------------------------------

    def _launch(
        self, spec: RunSpec, argv: tuple[str, ...], role: str | None, options: RunOptions, *, acks: str = ""
    ) -> FinishedRun:
        """Run one of a pipeline's programs: forked from the zygote chosen for its role, if any."""
        box = self.box
        self.reading.start(spec)
        command, cwd = spec.command(argv, box.path)
        environment = spec.environment(box.path, argv)
        if options.stacks:
            environment = traced.environment(environment, options.stacks)
        if box.unchanged:
            if options.visit is None or options.data:  # a recording knows each file by its inode
                box.unchanged.own()
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
            instant=spec.instant,
            file_times=self._file_times,
        )
        while True:
            try:
                return self._ran(replace(program, zygote=self._zygotes.of(spec, role)), options)
            except ZygoteError as error:
                self._zygotes.failed(role, error)

    def _ran(self, program: Program, options: RunOptions) -> FinishedRun:
        """Run a program; unmount what it leaves mounted in its box, and raise an error."""
        place = self.box.place
        mounts = below(place)  # the box itself, if it is on a real file system
        limit = math.inf if self.deadline is None else max(0.0, self.deadline - time.time())
        is_late = limit < options.timeout
        options = replace(options, timeout=min(limit, options.timeout))
        try:
            ran = run(program, options, Host(self._control, self.spared, self._left))
        finally:
            mounted = detach(place, mounts)
        if mounted:
            self._refuse_mounts(mounted[0], mounts)
        if is_late and ran.ended is Ending.TIMEOUT:
            raise BudgetEndedError("the budget ended while the pipeline ran")
        if ran.blind:
            self.box.unchanged.distrust()
            changed = self.box.unchanged.shared.changed()
            if changed:
                raise BoxError(f"{changed}, which boxes share, was changed in a way that is not seen")
        if ran.failure():  # they are shown when the box is gone
            ran.stdout, ran.stderr = self.box.as_told(ran.stdout), self.box.as_told(ran.stderr)
        return ran

    def _refuse_mounts(self, point: str, before: list[Mount]) -> NoReturn:
        """Raise an error for a file system that a run left mounted in the box."""
        what = f"the pipeline left something mounted in its box, at {os.path.relpath(point, self.box.path)}"
        if below(self.box.place) != before:
            raise BoxError(f"{what}; it cannot be unmounted, and nothing there was touched: unmount {point}")
        raise BoxError(f"{what}: the files there are not judged; it was unmounted")

    def _noting(self, visit: Visit) -> Visit:
        """Note the files that each op is about."""

        def noting(op: Op, number: int) -> Answer:
            self.box.unchanged.note(op)
            return visit(op, number)

        return noting

    # -- zygotes -------------------------------------------------------------------------------------

    @property
    def spared(self) -> list[int]:
        """Processes that are not part of any run."""
        return [*self._zygotes.pids, *self.reading.pids]

    @property
    def fell_back(self) -> str:
        """Why exec was used instead of a chosen zygote; "" if it was not."""
        return self._zygotes.fell_back

    @fell_back.setter
    def fell_back(self, why: str) -> None:
        self._zygotes.fell_back = why

    def is_warm(self, spec: RunSpec) -> bool:
        """Return whether runs of a pipeline are forked from a zygote."""
        return self._zygotes.is_warm(spec)

    def warm(self, spec: RunSpec, preload: Preload, role: str = BODY) -> tuple[str, ...]:
        """Use a zygote for a pipeline from now on; return the modules that it must not import.

        Raises:
            ZygoteError: no zygote can serve it.
        """
        argv = spec.argv if role == BODY else self._check_argv(spec, role)
        return self._zygotes.warm(spec, argv, self.box.path, preload, role)

    def choose_start(
        self, spec: RunSpec, preload: Preload | None, checks: Mapping[str, Preload] | None = None
    ) -> None:
        """Use zygotes instead of exec, if there is anything to preload and they can serve.

        Args:
            spec: the pipeline.
            preload: what the zygote of its runs imports; None to execute them.
            checks: the same for its checks, by role.
        """
        self.cool()
        for role, wanted in ((BODY, preload), *(checks or {}).items()):
            if wanted is not None:
                self.box.path.mkdir(exist_ok=True)
                try:
                    self.warm(spec, wanted, role)
                except ZygoteError as error:
                    self.fell_back = str(error)

    def cool(self) -> None:
        """Use exec from now on."""
        self._zygotes.cool()

    # -- its end -------------------------------------------------------------------------------------

    def remove_left(self) -> None:
        """Remove the temporary files that killed runs left outside the box, after the recovery."""
        self._left.remove()

    def clear(self) -> None:
        """End the zygotes; remove the worker's directory and all in it."""
        self.reading.close()
        self._zygotes.close()
        self.box.clear()
