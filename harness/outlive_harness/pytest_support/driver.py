"""One pytest process's share in the work: its harness workers, and its part of the time."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from pathlib import Path

import pytest

from outlive_harness.explain.task import explain
from outlive_harness.explore import baseline
from outlive_harness.explore.baseline import Baseline
from outlive_harness.explore.engine import explore
from outlive_harness.explore.options import Options
from outlive_harness.explore.records import ROOM, Records
from outlive_harness.explore.results import ScenarioResult
from outlive_harness.explore.session import Session, WorkerDiedError
from outlive_harness.pytest_support.budget import Budget
from outlive_harness.pytest_support.crowd import Crowd
from outlive_harness.pytest_support.stash import DRIVER, ROOT
from outlive_harness.scenario import Scenario


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
        made = config.stash[ROOT] = Session(jobs=0)
        made.open()
    return made.root


def call_off(root: Session) -> None:
    """Tell all xdist workers to stop, as xdist does in its own way some seconds later."""
    Crowd(root.root, "").call_off()


class _Joined(Session):
    """A session on the controller's directory, which an interrupt of the controller ends."""

    def __init__(self, root: Path, crowd: Crowd) -> None:
        super().__init__(jobs=1, root=root)
        self._crowd = crowd

    def wait(self, seconds: float) -> None:
        super().wait(seconds)
        if self._crowd.is_called_off():
            raise KeyboardInterrupt


class Driver:
    """Runs scenarios for pytest, with harness workers that start when first needed.

    Under xdist each pytest process brings one harness worker, and the board is everybody's: idle
    workers take crash points of the scenario that another process is busy with.
    """

    def __init__(self, config: pytest.Config) -> None:
        self.seed: int = config.getoption("outlive_seed")
        #: where failures are kept
        self.store: Path = config.rootpath / ".outlive"
        self._depth: int = config.getoption("outlive_depth")
        self._points: int | None = config.getoption("outlive_points")
        self._select: str = config.getoption("outlive_select")
        self._zygote: bool = not config.getoption("outlive_no_zygote")
        self._profile: str | None = config.getoption("outlive_profile")
        self._torn: str | None = config.getoption("outlive_torn")
        self._seconds: float | None = config.getoption("outlive_budget")
        self._known: Path | None = config.getoption("outlive_baseline")
        given: dict[str, str] | None = getattr(config, "workerinput", None)
        self._processes = int(given["workercount"]) if given else 1
        self._crowd: Crowd | None = None
        self._started = False
        self._budget: Budget | None = None
        # A root may be missing: no scenarios were in sight, or this process is on another machine.
        root = Path(given.get("outlive_root", "")) if given else Path()
        if given and root.is_absolute() and root.is_dir():
            self._crowd = Crowd(root, given["workerid"])
            self._session: Session = _Joined(root, self._crowd)
        else:
            self._session = Session(jobs=1 if given else None)

        #: golden runs of this process's own
        self.records = Records(self._session, room=ROOM)

    def start(self) -> Session:
        """Return the session, started."""
        if not self._started:
            self._started = True
            self._session.open()
        return self._session

    def join(self) -> None:
        """In an xdist worker with scenarios: be there for the others' work, too."""
        if self._crowd is not None:
            self._crowd.enter()
            self.start()

    @contextlib.contextmanager
    def options(self, faults: tuple[str, ...], *, items: int) -> Iterator[Options]:
        """Give one item its options: pytest's, and its share of the time that is left."""
        with contextlib.ExitStack() as stack:
            share = None
            if self._seconds is not None:
                self._budget = self._budget or Budget(
                    self.start().root, self._seconds, items=items, processes=self._processes
                )
                share = stack.enter_context(self._budget.share())
            yield Options(
                faults,
                self._depth,
                self._points,
                share,
                self.seed,
                self.store,
                profile=self._profile,
                torn=self._torn,
                zygote=self._zygote,
                select=self._select,
                corpus=True,
                baseline=self._baseline(),
            )

    def _baseline(self) -> Baseline | None:
        return None if self._known is None else baseline.read(self._known)

    def run(self, scenario: Scenario, options: Options, *, is_item: bool = False) -> ScenarioResult:
        """Explore one scenario; an interrupt is pytest's to handle.

        The golden run of one that is an item is shared with the other processes, which may have its other
        faults; that of one that a test hands in is this process's own.
        """
        records = None if is_item and self._processes > 1 else self.records
        result = explore(self.start(), [scenario], options, explain=explain, records=records)
        if result.interrupted:
            raise KeyboardInterrupt
        return result.scenarios[0]

    def finish(self) -> None:
        """This process's items are done: its worker goes on to help until nobody else has any."""
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
