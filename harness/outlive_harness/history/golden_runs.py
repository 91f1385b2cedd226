"""Golden runs that are not needed any more, and those that a door may ask for again.

The fixture of pytest runs one scenario as often as a test asks for it, with inputs and programs that tests
write and environments that they set. A golden run is taken again where all that it came of is as it was,
by content; else it is made anew, and the one before is let go of.
"""

from __future__ import annotations

import contextlib
import itertools
import os
import shutil
from dataclasses import dataclass, field, replace
from pathlib import Path

from outlive_harness.disk.removal import remove_tree
from outlive_harness.golden.record import Record
from outlive_harness.jobs.queue import Priority
from outlive_harness.jobs.session import Session
from outlive_harness.jobs.tasks import forget
from outlive_harness.results.run_spec import RunSpec, run_spec_of
from outlive_harness.results.scenario import Scenario

from .ledger import stands_on

#: Bytes of files in golden runs that nobody uses just now, and that are kept beside the last one.
ROOM = 16 << 20
_numbers = itertools.count(1)


@dataclass(slots=True)
class _Kept:
    """A golden run, or one that is being made.

    Attributes:
        plain: its subject, as the scenario gives it.
        subject: the one that it was made of.
        paths: what it read; empty where that is not known, and so it is not taken again.
        stood_on: the content of that, and of all else that it came of.
        size: bytes of its files.
        users: how many are at work with it.
    """

    plain: RunSpec
    spec: RunSpec
    paths: list[str] = field(default_factory=list)
    stood_on: object = None
    size: int = 0
    users: int = 1


class Shared:
    """Golden runs that all share who have the session's directory in common; they are there to its end."""

    def claim(self, scenario: Scenario) -> RunSpec:
        """Return a scenario made ready: equal ones share a golden run."""
        return run_spec_of(scenario)

    def note(self, scenario: Scenario, record: Record) -> None:
        """Note that a golden run is there."""

    def release(self, spec: RunSpec) -> None:
        """Say that somebody is done with a golden run."""


class Records(Shared):
    """The golden runs that one process has had made.

    Args:
        session: whose workers make them.
        room: how many bytes those may take that nobody uses, beside the last one; None to keep none.
    """

    def __init__(self, session: Session, *, room: int | None = None) -> None:
        self._session, self._room = session, room
        self._kept: list[_Kept] = []  # the one that was used last at the end

    def claim(self, scenario: Scenario) -> RunSpec:
        """Return a scenario made ready: the same as before where its golden run is to be taken again."""
        plain = run_spec_of(scenario)
        for one in [one for one in self._kept if one.plain == plain]:
            if one.paths and one.stood_on == stands_on(scenario, one.paths):
                one.users += 1
                self._kept.remove(one)
                self._kept.append(one)
                return one.spec
            if not one.users:
                self._drop(one)
        # Another edition is another subject to all that is kept of one: files, and warm interpreters.
        edition = f"{os.getpid()}-{next(_numbers)}"
        self._kept.append(_Kept(plain, replace(plain, edition=edition)))
        return self._kept[-1].spec

    def note(self, scenario: Scenario, record: Record) -> None:
        """Note what a golden run came of, as soon as it is there."""
        one = self._of(record.spec)
        if self._room is None or one.paths or not record.reads or record.reason:
            return
        program = shutil.which(record.spec.argv[0], path=dict(record.spec.environ).get("PATH"))
        one.paths = [*record.reads, *record.spec.own, *filter(None, [program])]
        one.stood_on = stands_on(scenario, one.paths)
        one.size = sum(_room_of(place) for place in self._places(one))

    def release(self, spec: RunSpec) -> None:
        """Say that somebody is done with a golden run; let go of what is not to be kept."""
        one = self._of(spec)
        one.users -= 1
        if not one.users:
            # What a recovery reads is not known: whether one comes out well is found out anew.
            for place in self._places(one):
                for path in (*place.glob("states-*"), *place.glob("recovered*")):
                    _remove(path)
        idle = [one for one in reversed(self._kept) if not one.users]
        left = self._room or 0
        for number, one in enumerate(idle):
            left -= one.size if number else 0
            if left < 0 or self._room is None:
                self._drop(one)

    def _of(self, spec: RunSpec) -> _Kept:
        # A golden run may find more to ignore: its spec is not the one that was claimed then.
        return next(one for one in self._kept if one.spec.edition == spec.edition)

    def _places(self, one: _Kept) -> list[Path]:
        """Return where a golden run is kept: one by exec alone is another."""
        records = self._session.root / "records"
        return [place for place in records.glob(f"{one.spec.key()}*") if place.is_dir()]

    def _drop(self, one: _Kept) -> None:
        self._kept.remove(one)
        for place in self._places(one):
            for priority in (Priority.GOLDEN_RUN, Priority.CHECK):
                forget(self._session.root, priority=priority, key=place.name)
            _remove(place)


def _room_of(place: Path) -> int:
    """Return how many bytes of disk a directory takes: boxes, and recordings of what was written."""
    return (
        sum(
            os.lstat(os.path.join(where, name)).st_blocks
            for where, _, names in os.walk(place)
            for name in names
        )
        * 512
    )


def _remove(place: Path) -> None:
    with contextlib.suppress(OSError):  # the end of the session removes what is left
        remove_tree(place)
