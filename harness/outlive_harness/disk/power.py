"""What a power cut may leave: the crash states of a trace under a persistence profile.

A crash state after op k is what persisted of the micro-ops of ops 1 to k: a set of them that holds
all that is durable by then, and with each micro-op all that must persist before it. The sets are
written by what they lack: "lost" are numbers of ops, ``28``, or of parts of them, ``28.1``.

Assumed: all that was there before the first op is durable, and an op had returned when the next one
was recorded (threads that call fsync at the same time as others write are taken one after another).
"""

from __future__ import annotations

import contextlib
import time
from bisect import bisect_left
from collections import defaultdict
from collections.abc import Generator, Iterable, Iterator, Mapping, Sequence
from functools import cache
from pathlib import Path
from random import Random
from typing import Any

from outlive_harness.trace import Op

from . import admit, content, order
from .files import ATTRIBUTE, BLOCK_OF, ENTRY, ROOT, SIZE, Node, tree_of, write_nodes
from .micro import History, Key, is_below
from .model import Disk
from .needs import needs, waited
from .profiles import (
    PROFILES,
    Profile,
    durable,
    is_metadata,
    keeps_a_log,
    lasting,
    named_by_log,
    profile_named,
    rests_on,
    strongest_first,
    superseded,
)
from .tree import Tree
from .view import View, bits

#: Chosen sets that give no new state, for each state asked for, until they are given up.
_FUTILE = 4
#: Random sets that give no new state, one after another, until they are given up.
_FUTILE_IN_A_ROW = 48
#: Ops after that of a state that are asked whether a disk which promises more leaves it there.
_LATER = 32
#: Sets of lost micro-ops after one op up to which all are tried.
_FEW = 512


class LostError(ValueError):
    """A set of lost micro-ops that cannot be: something else cannot have persisted without them."""


class State:
    """The files that a power cut leaves.

    Attributes:
        at: the op after which it struck.
        returned: whether that op had returned; if not, what it makes durable may be lost as well.
        digest: equal for states with equal files.
    """

    __slots__ = ("_model", "at", "digest", "dropped", "returned")

    def __init__(self, model: PowerModel, at: int, dropped: int, *, returned: bool) -> None:
        self._model = model
        self.at = at
        self.dropped = dropped
        self.returned = returned
        self.digest = f"{model.digest_of(at, dropped):032x}"

    @property
    def lost(self) -> tuple[str, ...]:
        """What did not persist, as the replay id has it; empty if all did."""
        return self._model.names_of(self)

    def __str__(self) -> str:
        return f"{self.at}-{','.join(self.lost)}" if self.lost else str(self.at)

    def tree(self, box: bytes = b"") -> Tree:
        """Return the files as tree.scan() would read them.

        Args:
            box: the path to replace in contents and link targets before they are digested.
        """
        return self._model.tree_of(self, box)

    def read(self, path: str) -> bytes:
        """Return the content of one of its files.

        Raises:
            FileNotFoundError: it has no such file.
        """
        return self._model.content_of(self, path)

    @property
    def initial(self) -> Path | None:
        """The directory that the first run began with; None if it was none."""
        return self._model.run.initial

    def write_to(self, directory: Path, copies: Mapping[str, str] | None = None) -> list[str]:
        """Make the files real below an existing, empty directory, with modes and links.

        Args:
            directory: where.
            copies: copies of files of the initial directory, by relative path, that may be moved in.

        Returns:
            Files of over 64 KiB that are as in the initial directory, content and attributes: relative paths.

        Raises:
            OSError: something cannot be made.
        """
        return self._model.write(self, directory, copies)


class Run:
    """What the models of one run on several disks share."""

    def __init__(self, history: History, starts: Sequence[int], initial: Path | None) -> None:
        self.history = history
        self.initial = initial
        self.starts = list(starts)
        self.view = View(history)
        self.digests: dict[Any, str] = {}
        self.models: dict[str, PowerModel] = {}
        #: the state that was asked for last, and its files
        self.latest: tuple[tuple[int, int], dict[int, Node]] | None = None


class PowerModel:
    """All that power cuts may leave of one run.

    Args:
        initial: the files before the run: a directory that stays as it is, or a Disk, which is used up.
        ops: the run's trace, recorded with data.
        profile: what the disk promises; a name of profiles.PROFILES.
        starts: where in the ops each run begins, if they are of several: one that was killed, and its
            recovery. Ops are then named by their place in the last run, ``28``, or in one before it,
            ``1/28``; everywhere else they are counted through.

    Raises:
        UnmodelledError: what an op did is not known.
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
            self.run = initial
        else:
            disk = Disk.load(initial) if isinstance(initial, Path) else initial
            self.run = Run(History(disk, ops), starts, initial if isinstance(initial, Path) else None)
        self.profile = profile = profile_named(profile)
        self.run.models[profile.name] = self
        self.history = history = self.run.history
        self.view = self.run.view
        self._needs = needs(history, profile)
        self._needed_by: list[list[int]] = [[] for _ in self._needs]
        for number, before in enumerate(self._needs):
            for other in before:
                self._needed_by[other].append(number)
        self._metadata = self._ordered = 0
        if profile.ordered:
            for micro in history.micros:
                self._metadata |= is_metadata(micro) << micro.number
                self._ordered |= (is_metadata(micro) or micro.what in ("grow", "edge")) << micro.number
        #: what is durable when an op is called, and once it has returned
        self._called = [0]
        self._durable = [0]
        #: what persists in no order, at these two moments
        self._exempt = [(0, 0)]
        self._follow_syncs()

    def _follow_syncs(self) -> None:
        """Find out what is durable at each op."""
        history, profile = self.history, self.profile
        logged = False
        by_log: set[int] = set()
        for op in range(1, len(history.ops) + 1):
            sync = history.syncs.get(op)
            called = held = self._durable[-1]
            every = (1 << history.end[op]) - 1
            exempt = every if logged else called
            if sync is not None:
                later = superseded(history, op, by_log)
                held &= ~sum(1 << number for number in later)
                held = self._with_needs(held, durable(history, profile, sync))
                by_log |= set(named_by_log(history, profile, sync))
                by_log -= set(lasting(history, profile, sync))
                for number, last in later.items():
                    if held >> last & 1:  # the name is what it became since, and that is durable
                        held |= 1 << number
                        by_log.discard(number)
                logged = logged or keeps_a_log(profile, sync)
            elif profile.waits and op in history.waited:
                held = self._with_needs(held, waited(history, op))
            self._called.append(called)
            self._durable.append(held)
            self._exempt.append((exempt, every if logged else held))

    def under(self, profile: str | Profile) -> PowerModel:
        """Return the model of the same run on a disk with another profile."""
        wanted = profile_named(profile)
        return self.run.models.get(wanted.name) or PowerModel(self.run, profile=wanted)

    def _with_needs(self, mask: int, numbers: Iterable[int]) -> int:
        waiting = list(numbers)
        while waiting:
            number = waiting.pop()
            if not mask >> number & 1:
                mask |= 1 << number
                waiting += self._needs[number]
        return mask

    # -- which micro-ops -----------------------------------------------------------------------------

    def durable(self, at: int, *, returned: bool = True) -> int:
        """Return the micro-ops that cannot be lost after op *at*, as bits."""
        self._check(at)
        return self._durable[at] if returned else self._called[at]

    def loose(self, at: int, *, returned: bool = True) -> int:
        """Return the micro-ops that may be lost after op *at*, as bits."""
        return (1 << self.history.end[at]) - 1 & ~self.durable(at, returned=returned)

    def _check(self, at: int) -> None:
        if not 0 <= at <= len(self.history.ops):
            raise ValueError(f"there is no op {at}: the trace has {len(self.history.ops)}")

    def is_written_in_flight(self, at: int) -> bool:
        """Tell whether op *at* makes durable what it writes: a power cut may leave a part of that.

        While any other sync is under way, all is as it was after the op before it: whatever a disk writes
        for it then it may have written by itself, and a log counts once it is there as a whole.
        """
        sync = self.history.syncs.get(at)
        return sync is not None and sync.kind == "own"

    def close(self, at: int, dropped: int, closed: int = 0, *, returned: bool = True) -> int:
        """Add to lost micro-ops all that cannot persist without them; *closed* are lost, and it was done."""
        end = self.history.end[at]
        below = (1 << end) - 1
        bound = self._ordered & below & ~self._exempt[at][returned]
        more = dropped & below & ~closed
        dropped = closed | more
        while more:
            waiting = list(bits(more))
            while waiting:
                for other in self._needed_by[waiting.pop()]:
                    if other < end and not dropped >> other & 1:
                        dropped |= 1 << other
                        waiting.append(other)
            more = 0
            first = dropped & self._metadata
            if first:
                # The journal ends before the op of the first that is lost.
                number = (first & -first).bit_length() - 1
                start = self.history.parts(self.history.micros[number].op).start
                more = bound >> start << start & ~dropped
                dropped |= more
        return dropped

    def keep(self, at: int, kept: int, *, returned: bool = True) -> int:
        """Add to persistent micro-ops all that must have persisted before them."""
        free = self._exempt[at][returned]
        more = kept
        kept = 0
        while more:
            kept = self._with_needs(kept, bits(more))
            more = 0
            last = (kept & self._ordered & ~free).bit_length()
            if last:
                end = self.history.end[self.history.micros[last - 1].op]
                more = self._metadata & ((1 << end) - 1) & ~kept
        return kept

    # -- states --------------------------------------------------------------------------------------

    def state(self, at: int, lost: Iterable[str] = ()) -> State:
        """Return the state after op *at* that lacks just these micro-ops.

        Where parts of op *at* itself are among them that its return makes durable, it had not returned.

        Raises:
            LostError: there can be no such state.
        """
        self._check(at)
        dropped = 0
        for name in lost:
            dropped |= self._named(at, name)
        returned = not dropped & self._durable[at]
        stuck = dropped & self.durable(at, returned=returned)
        also = self.close(at, dropped, returned=returned) & ~dropped
        if stuck or also:
            first = next(iter(bits(stuck or also)))
            why = "is durable" if stuck else "cannot persist without what is lost"
            raise LostError(f"after op {at}, {self._name(first)} {why} ({self.profile.name})")
        return State(self, at, dropped, returned=returned)

    def find(self, at: int, lost: Iterable[str]) -> State:
        """Return state() under the first profile that has it, of those that promise least first.

        Raises:
            LostError: there can be no such state on any disk.
        """
        lost, error = tuple(lost), None
        for profile in PROFILES:
            try:
                return self.under(profile).state(at, lost)
            except LostError as found:
                error = error or found
        assert error is not None
        raise error

    def _named(self, at: int, name: str) -> int:
        run, slash, rest = name.rpartition("/")
        starts = [*self.run.starts, len(self.history.ops)]
        earlier = len(starts) - 2
        which = _place(run, earlier) if slash else earlier + 1
        if not which:
            raise LostError(f"{name[:99]!r} is not of an earlier run; there are {earlier}")
        op, dot, part = rest.partition(".")
        start = starts[which - 1]
        most = max(min(at, starts[which]) - start, 0)
        place = _place(op, most)
        if not place:
            raise LostError(f"{name[:99]!r} is not the number of an op up to {most}")
        numbers = self.history.parts(start + place)
        if dot:
            which = _place(part, len(numbers))
            if not which:
                raise LostError(f"op {op} has no part {part[:99]!r}; it has {len(numbers)}")
            numbers = numbers[which - 1 : which]
        return sum(1 << number for number in numbers)

    def _name(self, number: int) -> str:
        micro = self.history.micros[number]
        alone = len(self.history.parts(micro.op)) == 1
        return self._op_name(micro.op) if alone else f"{self._op_name(micro.op)}.{micro.part}"

    def _op_name(self, op: int) -> str:
        run = bisect_left(self.run.starts, op)
        place = str(op - self.run.starts[run - 1])
        return place if run == len(self.run.starts) else f"{run}/{place}"

    def names_of(self, state: State) -> tuple[str, ...]:
        """Return State.lost."""
        dropped = self._with_unseen(state)
        names = []
        for op in dict.fromkeys(self.history.micros[number].op for number in bits(dropped)):
            numbers = self.history.parts(op)
            gone = [number for number in numbers if dropped >> number & 1]
            names += (
                [self._op_name(op)] if len(gone) == len(numbers) else [self._name(number) for number in gone]
            )
        return tuple(names)

    def _with_unseen(self, state: State) -> int:
        """Count data past the end of a file as lost with the growth that would have shown it."""
        dropped = state.dropped
        micros = self.history.micros
        held = self.durable(state.at, returned=state.returned)
        end = self.history.end[state.at]
        sizes: dict[int, int] = {}
        for number in reversed(list(bits(dropped))):
            data = number + 1
            if micros[number].what != "grow" or dropped >> data & 1 or held >> data & 1:
                continue
            node = micros[number].changes[0].node
            if node not in sizes:
                sizes[node] = self._value((SIZE, node, 0), state.at, dropped)
            users = (other for other in self._needed_by[data] if other < end)
            if micros[data].start >= sizes[node] and all(dropped >> other & 1 for other in users):
                dropped |= 1 << data
        closed = self.close(state.at, dropped, returned=state.returned)
        return dropped if closed == dropped else state.dropped

    def _value(self, key: Key, at: int, dropped: int) -> Any:  # noqa: ANN401 - of any aspect
        """Return what the last persistent change of one thing made it."""
        chain = self.history.chains[key]
        micros = self.history.micros
        place = bisect_left(chain, self.history.end[at])
        least = 0
        while place and (dropped >> chain[place - 1] & 1 or is_below(micros[chain[place - 1]])):
            if not dropped >> chain[place - 1] & 1:
                least = max(least, micros[chain[place - 1]].stop)
            place -= 1
        changes = micros[chain[max(place - 1, 0)]].changes
        change = next(change for change in changes if change.key == key)
        value = change.after if place else change.before
        return max(value, least) if least else value

    def _overlay(self, at: int, dropped: int) -> dict[int, dict[tuple[str, str | int], Any]]:
        """Return the values that differ from those of the moment after op *at* where nothing is lost."""
        overlay: dict[int, dict[tuple[str, str | int], Any]] = defaultdict(dict)
        micros = self.history.micros
        for number in bits(dropped):
            for aspect, node, where, _, _ in micros[number].changes:
                values = overlay[node]
                if (aspect, where) not in values:
                    values[aspect, where] = self._value((aspect, node, where), at, dropped)
        return overlay

    def digest_of(self, at: int, dropped: int) -> int:
        """Return State.digest as a number."""
        self.view.move(self.history.end[at])
        overlay = self._overlay(at, dropped)
        return self.view.digest_with(overlay) ^ self.view.links(self.history.linked, overlay)

    def _nodes(self, state: State) -> dict[int, Node]:
        """Return the files of a state that differ from the view's, which is moved to the state's op."""
        self.view.move(self.history.end[state.at])
        which = state.at, state.dropped
        if self.run.latest is None or self.run.latest[0] != which:
            overlay = self._overlay(*which)
            self.run.latest = which, {number: self.view.node_with(number, overlay) for number in overlay}
        return self.run.latest[1]

    def tree_of(self, state: State, box: bytes = b"") -> Tree:
        """Return State.tree()."""
        changed = self._nodes(state)
        nodes = self.view.nodes

        def digest(_number: int, node: Node) -> str:
            key = node.size, tuple(sorted((index, id(block)) for index, block in node.blocks.items())), box
            if key not in self.run.digests:
                self.run.digests[key] = content.digest(node.blocks, node.size, box)
            return self.run.digests[key]

        return tree_of(lambda number: changed.get(number) or nodes[number], box, digest)

    def content_of(self, state: State, path: str) -> bytes:
        """Return State.read()."""
        changed = self._nodes(state)
        number: int | None = ROOT
        node = changed.get(ROOT) or self.view.nodes[ROOT]
        for name in path.split("/"):
            number = node.entries.get(name)
            if number is None:
                raise FileNotFoundError(path)
            node = changed.get(number) or self.view.nodes[number]
        if node.kind != "file":
            raise FileNotFoundError(path)
        return content.read(node.blocks, node.size)

    def write(self, state: State, directory: Path, copies: Mapping[str, str] | None) -> list[str]:
        """Do State.write_to()."""
        changed = self._nodes(state)
        nodes = {**self.view.nodes, **changed}
        for number, node in nodes.items():
            age = self._last_write(number, state)
            if age:
                # Nobody recorded when it was written, only in which order.
                made = Node(
                    node.kind, node.target, node.entries, node.size, node.blocks, dict(node.attributes)
                )
                stamp = time.time_ns() - (len(self.history.ops) - age + 1) * 1000
                made.attributes["times"] = stamp, stamp
                nodes[number] = made
        return write_nodes(nodes.__getitem__, directory, initial=self.run.initial, copies=copies)

    def _last_write(self, number: int, state: State) -> int:
        """Return the op that last changed what is in a file, unless its times were set after that."""
        end = self.history.end[state.at]
        for micro in reversed(self.history.own[number]):
            if micro < end and not state.dropped >> micro & 1:
                for change in self.history.micros[micro].changes:
                    if change.aspect == ATTRIBUTE and change.where == "times":
                        return 0
                    if change.aspect in (SIZE, BLOCK_OF, ENTRY):
                        return self.history.micros[micro].op
        return 0

    # -- which states can be -------------------------------------------------------------------------

    def admits(
        self, found: Tree | Path | State, at: int, *, read: admit.Reader | None = None, returned: bool = True
    ) -> bool:
        """Tell whether a power cut after op *at* can leave just these files.

        Args:
            found: the files; of a directory or a state the contents are compared block by block, of a
                tree alone they can only be tried.
            at: the op.
            read: returns the content of one of the files.
            returned: whether the op had returned.

        Raises:
            UndecidedError: there are too many ways in which they may have come about.
        """
        files: Tree | Path = {}
        if isinstance(found, State):
            read = found.read
            files = found.tree()
        else:
            files = found
        end = self.history.end[at]
        self.view.move(end)

        def reading(path: str) -> bytes:
            assert read is not None
            data = read(path)
            self.view.move(end)  # a state's own reading moves it
            return data

        return admit.admits(self, files, at, read=reading if read else None, returned=returned)

    def strongest(self, state: State, until: int | None = None, least: str = "strict") -> tuple[str, str]:
        """Return the name of the profile that promises most and admits a state, and what that rests on.

        One whose disks were seen to leave such states goes before one that only admits them. One that cannot
        be told to admit them, in all the ways in which they may have come about, does not.

        Args:
            state: what a power cut left.
            until: the last op after which one may leave the same; by default that of the state alone.
            least: the profile that promises least of those that are asked.
        """
        profiles = strongest_first()
        profiles = profiles[: [one.name for one in profiles].index(least) + 1]
        admitting = [one for one in profiles if self.under(one).leaves(state, until)]
        for one in admitting:
            why = rests_on(one, lambda other: self.under(other).leaves(state, until))
            if one.habits and not why:
                return one.name, ""
        if not admitting:
            return self.profile.name, ""
        first = admitting[0]
        return first.name, rests_on(first, lambda other: self.under(other).leaves(state, until))

    def leaves(self, state: State, until: int | None = None) -> bool:
        """Tell whether a state's files may be left after its op, or after one up to *until*."""
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
        """Yield an op that a state came after, and ops up to another one that may leave it as well."""
        yield state.at, state.returned
        for at in range(state.at + 1, min(until, state.at + _LATER) + 1):
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
        """Yield states after op *at*, those first that are most often fatal; never two of one digest.

        Return whether there may be more than were yielded.

        In this order: everything unsynced lost; nothing lost; then in turn each prefix, each op lost
        (with what depends on it), each op alone (with what it needs), all data of each file, all
        names of each directory, each write torn; then the same for single micro-ops; then all that
        are left where they are few, and else random sets from the seed, until nothing new comes of them.

        Args:
            at: the op.
            seed: of the random sets.
            budget: states, at most.
            seen: digests that are not to come (again); those of what is yielded are added.
            returned: whether op *at* had returned. Asking for False as well is worth it only where
                it is_written_in_flight().
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
        """Yield the states of states() that are not known, and None at the end if not all sets were tried."""
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


def _place(text: str, most: int) -> int:
    """Return a number from 1 to *most*; 0 if the text is none."""
    valid = text.isascii() and text.isdigit() and len(text) <= len(str(most))
    return int(text) if valid and int(text) <= most else 0
