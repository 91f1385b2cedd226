"""Golden runs that may be used again, and the removal of those that are not needed any more.

The pytest fixture runs one scenario as often as tests ask for it, with inputs, programs and environments that
the tests make. A golden run is reused if the content of everything that it rests on is unchanged; else it is
made anew, and the earlier one is removed.
"""

from __future__ import annotations

import contextlib
import itertools
import os
import shutil
from dataclasses import dataclass, field, replace
from pathlib import Path

from outlive_harness.disk.removal import remove_tree
from outlive_harness.golden.record import Record, left_by_trials
from outlive_harness.jobs.queue import Priority
from outlive_harness.jobs.session import Session
from outlive_harness.jobs.tasks import forget
from outlive_harness.results.run_spec import RunSpec, run_spec_of
from outlive_harness.results.scenario import Scenario
from outlive_harness.trial.golden_task import REST

from .ledger import content_of

#: Bytes that unused golden runs may take besides the last one.
ROOM = 16 << 20
_numbers = itertools.count(1)


@dataclass(slots=True)
class _Kept:
    """A golden run that exists or is being made.

    Attributes:
        plain: the pipeline as the scenario declares it.
        spec: the same with an edition of its own.
        paths: the paths that it read; empty if they are unknown, and it cannot be reused.
        basis: the content of all that it rests on: what is beside the scenario, and what it read.
        size: bytes of its files.
        users: the number of its current users.
    """

    plain: RunSpec
    spec: RunSpec
    paths: list[str] = field(default_factory=list)
    basis: tuple[object, ...] | None = None
    size: int = 0
    users: int = 1


class Shared:
    """Golden runs that all users of a session's directory share, and that exist until the session ends."""

    def claim(self, scenario: Scenario) -> RunSpec:
        """Return the pipeline to run; equal ones share a golden run."""
        return run_spec_of(scenario)

    def note(self, scenario: Scenario, record: Record) -> None:
        """Note that a golden run exists."""

    def release(self, spec: RunSpec) -> None:
        """Note that a user of a golden run is done with it."""


class Records(Shared):
    """The golden runs of one process.

    Args:
        session: the session whose workers make them.
        room: bytes that unused ones may take besides the last one; None to keep none.
    """

    def __init__(self, session: Session, *, room: int | None = None) -> None:
        self._session, self._room = session, room
        self._kept: list[_Kept] = []  # the most recently used one last
        self._used: set[tuple[str, str | None]] = set()  # editions, each with an input

    def claim(self, scenario: Scenario) -> RunSpec:
        """Return the pipeline to run: the same as before if its golden run can be reused."""
        plain = run_spec_of(scenario)
        for one in [one for one in self._kept if one.plain == plain]:
            if one.paths and one.basis == content_of(scenario, one.paths):
                one.users += 1
                self._kept.remove(one)
                self._kept.append(one)
                return one.spec
            if not one.users:
                self._drop(one)
        edition = self._edition(scenario, plain)
        self._used.add((edition, plain.source))
        self._kept.append(_Kept(plain, replace(plain, edition=edition)))
        return self._kept[-1].spec

    def _edition(self, scenario: Scenario, plain: RunSpec) -> str:
        """Return the edition of a pipeline that has another input and is otherwise unchanged, or a new one.

        Runs of one edition share a zygote. A new edition is another pipeline to everything that is kept for
        one: files and zygotes.
        """
        program = plain.program()
        alike = (one for one in reversed(self._kept) if one.paths and one.plain.program() == program)
        other = next(alike, None)
        if other is not None and (other.spec.edition, plain.source) not in self._used:
            assert other.basis is not None
            if other.basis[1] == content_of(scenario, other.paths)[1]:
                return other.spec.edition
        return f"{os.getpid()}-{next(_numbers)}"

    def note(self, scenario: Scenario, record: Record) -> None:
        """Note what a golden run rests on, as soon as it exists."""
        one = self._of(record.spec)
        if self._room is None or one.paths or not record.reads or record.reason:
            return
        program = shutil.which(record.spec.argv[0], path=dict(record.spec.environ).get("PATH"))
        one.paths = [*record.reads, *record.spec.own, *filter(None, [program])]
        one.basis = content_of(scenario, one.paths)
        one.size = sum(_room_of(place) for place in self._places(one))

    def release(self, spec: RunSpec) -> None:
        """Note that a user of a golden run is done with it; remove golden runs that must not be kept."""
        one = self._of(spec)
        one.users -= 1
        if not one.users:
            # The files that a recovery reads are unknown, so its success is not reused.
            for place in self._places(one):
                for path in left_by_trials(place):
                    _remove(path)
        idle = [one for one in reversed(self._kept) if not one.users]
        left = self._room or 0
        for number, one in enumerate(idle):
            left -= one.size if number else 0
            if left < 0 or self._room is None:
                self._drop(one)

    def _of(self, spec: RunSpec) -> _Kept:
        # A golden run may find more to ignore: its spec is not the one that was claimed then.
        which = spec.edition, spec.source
        return next(one for one in self._kept if (one.spec.edition, one.spec.source) == which)

    def _places(self, one: _Kept) -> list[Path]:
        """Return the directories of a golden run; one by exec alone has its own."""
        return [place for place in self._session.records.glob(f"{one.spec.key()}*") if place.is_dir()]

    def _drop(self, one: _Kept) -> None:
        self._kept.remove(one)
        for place in self._places(one):
            for priority in (Priority.GOLDEN_RUN, Priority.CHECK):
                forget(self._session.root, priority=priority, key=place.name)
            forget(self._session.root, priority=Priority.GOLDEN_RUN, key=f"{place.name}{REST}")
            _remove(place)


def _room_of(place: Path) -> int:
    """Return the bytes of disk that a directory takes: boxes and recordings."""
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
