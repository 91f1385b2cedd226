"""A strategy for crashes, each of which is drawn when the run that it ends is known."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import NamedTuple

from hypothesis import strategies as st
from hypothesis.strategies import DataObject, SearchStrategy

from outlive_harness.faults.table import FAULTS, NAMES
from outlive_harness.results.options import DEFAULT_FAULTS
from outlive_harness.results.plan import Point
from outlive_harness.results.value_kinds import whole

#: Faults whose points follow from a run: not ``timer``, whose points are moments.
KNOWN = tuple(name for name in NAMES if FAULTS[name].counts_ops)


class Place(NamedTuple):
    """A crash point, with the words that say what it is.

    Attributes:
        point: the crash point.
        text: the point and its op, in words.
    """

    point: Point
    text: str

    def __repr__(self) -> str:
        return self.text


class Crash:
    """One to several crashes in a row, as crashes() draws them; survives() takes it.

    The number of ops of a run is known only when it has run, with the input of the example at hand. So the
    crash points are drawn then, as ``st.data()`` draws, and each is printed in words.

    Args:
        data: draws.
        faults: the faults to draw from.
        depth: the greatest number of crashes in a row.
    """

    def __init__(self, data: DataObject, faults: tuple[str, ...], depth: int) -> None:
        self._data = data
        self.faults, self.depth = faults, depth

    def __repr__(self) -> str:
        return _text(self.faults, self.depth)

    def place(self, several: Sequence[Sequence[Place]]) -> Point:
        """Draw one of the crash points of a run.

        Args:
            several: the points of each fault, in order; each has at least one.
        """
        strategy = st.one_of(*(_one_of(places) for places in several))
        drawn: Place = self._data.draw(strategy, label="crash")
        return drawn.point

    def goes_on(self) -> bool:
        """Draw whether the recovery is crashed, too."""
        return self._data.draw(st.booleans(), label="the recovery is crashed, too")


#: Runs of so few points are taken from the start as a whole.
_FEW = 8


def _one_of(places: Sequence[Place]) -> SearchStrategy[Place]:
    """Return a strategy for one of several, which shrinks to the first.

    The last ones are counted from the end: so the ops that end a run, which often are those that publish its
    outputs, stay the same ops while a smaller input makes the run shorter.
    """
    count = len(places)
    front = places if count <= _FEW else places[: count - count // 4]
    back = places[count - count // 2 :][::-1]
    return st.sampled_from(front) | st.sampled_from(back) if back else st.sampled_from(front)


@st.composite
def _crashes(draw: st.DrawFn, faults: tuple[str, ...], depth: int) -> Crash:
    return Crash(draw(st.data()), faults, depth)


def crashes(faults: str | Iterable[str] = DEFAULT_FAULTS, depth: int = 1) -> SearchStrategy[Crash]:
    """Return a strategy for crashes of any run: no number of ops is needed, nor which run it will be.

    survives() turns what is drawn into crash points of the run at hand. Crashes shrink to the first fault,
    to fewer in a row, and to earlier points::

        @given(rows=st.lists(st.tuples(st.integers(), st.text())), crash=crashes())
        @outlive_settings
        def test_survives(outlive, rows, crash):
            command = [sys.executable, "pipeline.py", "in.csv"]
            outlive.survives(command, crash, files={"in.csv": rows}, outputs="out.csv")

    As with ``st.data()``, a point is drawn within the test: ``@example`` takes a written plan in its place
    (``crash="kill@7"``), and neither ``.map()`` nor ``.filter()`` see the point.

    Args:
        faults: the faults to draw from: ``kill``, ``torn``, ``power``, ``full``, ``eio``, ``term``.
        depth: the greatest number of crashes in a row; each after the first is in the recovery from the one
            before.

    Raises:
        ValueError: an argument has a wrong type or value; the message begins with its name.
    """
    names = (faults,) if isinstance(faults, str) else tuple(faults)
    for name in names:
        if name not in KNOWN:
            raise ValueError(f"faults={name!r} must be among {', '.join(KNOWN)}")
    if not names:
        raise ValueError(f"faults={faults!r} must name at least one fault")
    whole("depth", depth)
    return _crashes(tuple(dict.fromkeys(names)), depth)


def _text(faults: tuple[str, ...], depth: int) -> str:
    given = [repr(faults)] if faults != DEFAULT_FAULTS else []
    return f"crashes({', '.join([*given, *([f'depth={depth}'] if depth > 1 else [])])})"
