"""What a power cut may leave: the crash states of a recording under a persistence profile.

A crash state after op k is what persisted of the micro-ops of ops 1 to k: a set of them that holds all that
is durable by then and, with each micro-op, all that must persist before it. The sets are written by what they
lack: "lost" are numbers of ops, ``28``, or of parts of them, ``28.1``.

Assumptions: all files from before the first op are durable, and each op had returned when the next was
recorded (concurrent fsyncs and writes of several threads are taken one after another).
"""

from __future__ import annotations

import contextlib
from collections.abc import Generator, Iterable, Iterator, Sequence
from functools import cache
from pathlib import Path
from random import Random

from outlive_harness.results.ops import Op

from .model import Disk
from .persistence import admit, order
from .persistence.closure import Closure, Run
from .persistence.lost import LostError, mask_of, name_of
from .persistence.micro import History
from .persistence.state import State
from .persistence.view import bits
from .profiles import PROFILES, Profile, profile_named, rests_on, strongest_first
from .tree import Tree

#: Chosen sets without a new state that are tried, for each state asked for.
_FUTILE = 4
#: Random sets in a row without a new state that are tried.
_FUTILE_IN_A_ROW = 48
#: Ops after that of a state at which a stronger disk may leave it too.
_LATER = 32
#: Sets of lost micro-ops after one op up to which all are tried.
_FEW = 512


class PowerModel(Closure):
    """All that power cuts may leave of one run.

    Args:
        initial: the files before the run: a directory that must not change, or a Disk, which is used up.
        ops: the run's ops, recorded with data.
        profile: what the disk promises: a name of profiles.PROFILES.
        starts: where in the ops each run begins, if there are several: a killed run and its recovery. Ops are
            then named by their number in the last run, ``28``, or in an earlier one, ``1/28``; everywhere
            else they are counted through.

    Raises:
        UnmodelledError: the effect of an op is not known.
        OSError: the initial files cannot be read.
    """

    def __init__(
        self,
        initial: Disk | Path | Run,
        ops: Sequence[Op] = (),
        profile: str | Profile = "posix",
        *,
        starts: Sequence[int] = (0,),
    ) -> None:
        if isinstance(initial, Run):
            run = initial
        else:
            disk = Disk.load(initial) if isinstance(initial, Path) else initial
            run = Run(History(disk, ops), starts, initial if isinstance(initial, Path) else None)
        super().__init__(run, profile_named(profile))
        #: the models of the same run under other profiles, by name
        self._models = {self.profile.name: self}

    def under(self, profile: str | Profile) -> PowerModel:
        """Return the model of the same run on a disk with another profile."""
        wanted = profile_named(profile)
        if wanted.name not in self._models:
            model = self._models[wanted.name] = PowerModel(self.run, profile=wanted)
            model._models = self._models
        return self._models[wanted.name]

    def state(self, at: int, lost: Iterable[str] = ()) -> State:
        """Return the state after op *at* in which exactly these micro-ops are lost.

        If op *at* itself loses parts that are durable once it returns, it had not returned.

        Raises:
            LostError: no such state is possible.
            ValueError: there is no such op.
        """
        durable = self.durable(at)
        dropped = 0
        for name in lost:
            dropped |= mask_of(self, at, name)
        returned = not dropped & durable
        stuck = dropped & self.durable(at, returned=returned)
        also = self.close(at, dropped, returned=returned) & ~dropped
        if stuck or also:
            first = next(iter(bits(stuck or also)))
            why = "is durable" if stuck else "cannot persist without what is lost"
            raise LostError(f"after op {at}, {name_of(self, first)} {why} ({self.profile.name})")
        return State(self, at, dropped, returned=returned)

    def find(self, at: int, lost: Iterable[str]) -> State:
        """Return state() under the weakest profile that has it.

        Raises:
            LostError: no disk can leave such a state.
        """
        lost, error = tuple(lost), None
        for profile in PROFILES:
            try:
                return self.under(profile).state(at, lost)
            except LostError as found:
                error = error or found
        assert error is not None
        raise error

    # -- which states can be -------------------------------------------------------------------------

    def admits(
        self, found: Tree | Path | State, at: int, *, read: admit.Reader | None = None, returned: bool = True
    ) -> bool:
        """Return whether a power cut after op *at* can leave exactly these files.

        Args:
            found: the files. The contents of a directory or a state are compared block by block; of a tree
                without *read*, all possible contents are tried.
            at: the op.
            read: returns the content of one of the files.
            returned: whether the op had returned.

        Raises:
            UndecidedError: there are too many ways in which the files may have come about.
        """
        if isinstance(found, State):
            read, found = found.read, found.tree()
        end = self.history.end[at]
        self.view.move(end)

        def reading(path: str) -> bytes:
            assert read is not None
            data = read(path)
            self.view.move(end)  # State.read() moves it
            return data

        return admit.admits(self, found, at, read=reading if read else None, returned=returned)

    def strongest(self, state: State, until: int | None = None, least: str = "strict") -> tuple[str, str]:
        """Return the name of the strongest profile that admits a state, and what that rests on (rests_on()).

        A profile whose disks were seen to leave such states goes before one that only admits them. A profile
        for which that cannot be decided does not count.

        Args:
            state: the state that a power cut left.
            until: the last op after which a cut may leave the same files; by default the state's own.
            least: the weakest profile to try.
        """
        profiles = strongest_first()
        profiles = profiles[: [one.name for one in profiles].index(least) + 1]
        first: tuple[str, str] | None = None
        for one in profiles:
            if self.under(one).leaves(state, until):
                why = rests_on(one, lambda other: self.under(other).leaves(state, until))
                if one.habits and not why:
                    return one.name, ""
                first = first or (one.name, why)
        return first or (self.profile.name, "")

    def leaves(self, state: State, until: int | None = None) -> bool:
        """Return whether a cut after a state's op, or after one up to *until*, may leave its files."""
        lost = state.dropped & self.durable(state.at, returned=state.returned)
        if not lost and self.close(state.at, state.dropped, returned=state.returned) == state.dropped:
            return True
        tree, read = state.tree(), cache(state.read)
        for at, returned in self._moments(state, until or state.at):
            with contextlib.suppress(admit.UndecidedError):
                if self.admits(tree, at, read=read, returned=returned):
                    return True
        return False

    def _moments(self, state: State, until: int) -> Iterator[tuple[int, bool]]:
        """Yield the op of a state, and the following ops up to another, and whether each had returned."""
        yield state.at, state.returned
        yield from self.moments(range(state.at + 1, min(until, state.at + _LATER) + 1))

    def moments(self, numbers: Iterable[int]) -> Iterator[tuple[int, bool]]:
        """Yield ops after which the power may be cut, and whether each had returned: see states()."""
        for at in numbers:
            if self.is_written_in_flight(at):
                yield at, False
            yield at, True

    # -- exploration ---------------------------------------------------------------------------------

    def states(
        self,
        at: int,
        *,
        seed: int = 0,
        budget: int = 256,
        seen: set[str] | None = None,
        returned: bool = True,
    ) -> Generator[State, None, bool]:
        """Yield states after op *at*, the most often fatal first, no two with the same digest.

        Return whether there may be more.

        The order: everything unsynced lost; nothing lost; then in turn each prefix, each op lost (with what
        depends on it), each op alone (with what it needs), all data of each file, all names of each
        directory, each write torn; then the same for single micro-ops; then all remaining sets if they are
        few, else random sets from the seed, until these give no new state.

        Args:
            at: the op.
            seed: seed of the random sets.
            budget: the most states.
            seen: digests to leave out; those of yielded states are added.
            returned: whether op *at* had returned. False gives other states only if it
                is_written_in_flight().
        """
        known = set() if seen is None else seen
        states = self._in_order(at, known, seed, _FUTILE * (budget + 1), returned=returned)
        for number, state in enumerate(states):
            if state is None or number == budget:
                return True
            known.add(state.digest)
            yield state
        return False

    def _in_order(
        self, at: int, known: set[str], seed: int, patience: int, *, returned: bool
    ) -> Iterator[State | None]:
        """Yield the states of states() that are not known; None at the end if not all sets were tried."""
        tried: set[int] = set()

        def fresh(dropped: int) -> State | None:
            state = None if dropped in tried else State(self, at, dropped, returned=returned)
            tried.add(dropped)
            return None if state is None or state.digest in known else state

        futile = 0
        for dropped in order.chosen(self, at, returned=returned):
            if futile == patience:
                break
            state = fresh(dropped)
            futile += state is None
            if state is not None:
                yield state
        every = order.every(self, at, _FEW, returned=returned)
        if every is not None:
            yield from filter(None, map(fresh, every))
            return
        futile = 0
        for dropped in order.random_sets(self, at, Random(f"{seed}:{at}"), returned=returned):
            if futile == _FUTILE_IN_A_ROW:
                break
            state = fresh(dropped)
            futile = futile + 1 if state is None else 0
            if state is not None:
                yield state
        yield None


__all__ = ["LostError", "PowerModel", "State"]
