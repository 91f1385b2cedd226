"""The driver of one pytest process: its harness workers, and its share of the time."""

from __future__ import annotations

import contextlib
from collections.abc import Collection, Iterator
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from outlive_harness.explain.task import explain
from outlive_harness.explore.engine import explore
from outlive_harness.history import baseline
from outlive_harness.history.baseline import Baseline
from outlive_harness.history.golden_runs import ROOM, Records
from outlive_harness.jobs.session import Session, WorkerDiedError
from outlive_harness.results.options import Options
from outlive_harness.results.scenario import Scenario
from outlive_harness.results.verdicts import ScenarioResult

from .budget import Budget
from .configured import filled, options_of, setting
from .crowd import Crowd
from .stash import DRIVER, ROOT

if TYPE_CHECKING:
    from outlive_harness.drawn.survivor import Survivor


def driver(config: pytest.Config) -> Driver:
    """Return this process's driver."""
    made = config.stash.get(DRIVER, None)
    if made is None:
        made = config.stash[DRIVER] = Driver(config)
    return made


def shared_root(config: pytest.Config) -> Path:
    """Return the directory that all xdist workers share, made by the controller."""
    made = config.stash.get(ROOT, None)
    if made is None:
        made = config.stash[ROOT] = Session(jobs=0, box_dir=setting(config, "box_dir"))
        made.open()
    return made.root


def call_off(root: Session) -> None:
    """Tell all xdist workers to stop; xdist itself does so some seconds later."""
    Crowd(root.root, "").call_off()


class _Joined(Session):
    """A session in the controller's directory; an interrupt of the controller ends it."""

    def __init__(self, root: Path, crowd: Crowd) -> None:
        super().__init__(jobs=1, root=root)
        self._crowd = crowd

    def wait(self, seconds: float) -> None:
        super().wait(seconds)
        if self._crowd.is_called_off():
            raise KeyboardInterrupt


class Driver:
    """Runs scenarios for pytest, with harness workers that start when they are first needed.

    Under xdist each pytest process has one harness worker, and all share one job queue: idle workers take
    crash points of a scenario that another process explores.
    """

    def __init__(self, config: pytest.Config) -> None:
        self._config = config
        self._options = options_of(config)
        self.seed = self._options.seed
        #: where failures are kept
        self.store = self._options.store
        self._seconds: float | None = setting(config, "budget")
        self._known: Path | None = setting(config, "baseline")
        given: dict[str, str] | None = getattr(config, "workerinput", None)
        self._processes = int(given["workercount"]) if given else 1
        self._crowd: Crowd | None = None
        self._started = False
        self._budget: Budget | None = None
        # There is no root if the controller saw no scenarios, or is on another machine.
        root = Path(given.get("outlive_root", "")) if given else Path()
        if given and root.is_absolute() and root.is_dir():
            self._crowd = Crowd(root, given["workerid"])
            self._session: Session = _Joined(root, self._crowd)
        else:
            jobs = 1 if given else setting(config, "jobs")
            self._session = Session(jobs=jobs, box_dir=setting(config, "box_dir"))

        self._survivor: Survivor | None = None
        #: golden runs of this process
        self.records = Records(self._session, room=ROOM)

    def start(self) -> Session:
        """Return the session, started."""
        if not self._started:
            self._started = True
            self._session.open()
        return self._session

    def survivor(self) -> Survivor:
        """Return what judges drawn examples, with a worker of its own: one keeps a warm interpreter."""
        if self._survivor is None:
            from outlive_harness.drawn.survivor import Survivor  # noqa: PLC0415 - it imports hypothesis

            self._survivor = Survivor(self.store)
        return self._survivor

    def join(self) -> None:
        """In an xdist worker with scenarios, start: it also takes work of other processes."""
        if self._crowd is not None:
            self._crowd.enter()
            self.start()

    @contextlib.contextmanager
    def options(self, faults: tuple[str, ...], *, items: int) -> Iterator[Options]:
        """Yield the options of one item: those of pytest, and its share of the time that is left."""
        with contextlib.ExitStack() as stack:
            share = None
            if self._seconds is not None:
                self._budget = self._budget or Budget(
                    self.start().root, self._seconds, items=items, processes=self._processes
                )
                share = stack.enter_context(self._budget.share())
            yield replace(self._options, faults=faults, budget=share)

    def filled(self, scenario: Scenario, *, door: str = "test", asked: Collection[str] = ()) -> Scenario:
        """Return a scenario with what pyproject.toml says of all; *asked* are keywords that a test gives."""
        return filled(self._config, scenario, door=door, asked=asked)

    def _baseline(self) -> Baseline | None:
        return None if self._known is None else baseline.read(self._known)

    def run(self, scenario: Scenario, options: Options, *, is_item: bool = False) -> ScenarioResult:
        """Explore one scenario.

        An item shares its golden run with the other processes, which may have the items of its other faults.
        The golden run of a scenario from a test belongs to this process.

        Raises:
            KeyboardInterrupt: the run was interrupted.
        """
        records = None if is_item and self._processes > 1 else self.records
        result = explore(
            self.start(), [scenario], options, explain=explain, records=records, baseline=self._baseline()
        )
        if result.interrupted:
            raise KeyboardInterrupt
        return result.scenarios[0]

    def finish(self) -> None:
        """Let this process's worker help, its items being done, until no other process is at work."""
        if self._crowd is None or not self._started:
            return
        self._crowd.leave()
        with contextlib.suppress(WorkerDiedError):
            while self._crowd.others() and not self._crowd.is_called_off():
                self._session.replace_dead()
                Session.wait(self._session, 0.1)

    def close(self) -> None:
        """End the workers."""
        if self._started:
            self._started = False
            self._session.close()
        if self._survivor is not None:
            self._survivor.close()
