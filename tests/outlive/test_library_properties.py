"""Properties of the library, for any input that Hypothesis can think of."""

# Names are compared as text.
# ruff: noqa: PTH208

import io
import os
import shutil
import tempfile
from pathlib import Path

import pytest
from hypothesis import assume, example, given, settings
from hypothesis import strategies as st
from hypothesis.stateful import Bundle, RuleBasedStateMachine, invariant, rule

from outlive import Checkpoints, StepResult, atomic_open, atomic_write, run_steps
from outlive._pipeline.order import _Places, ordered

# Derandomized: the same examples in each run and on each worker.
SETTINGS = settings(deadline=None, derandomize=True, max_examples=60, database=None)

ANY_TEXT = st.text(st.characters(), max_size=60)  # lone surrogates included
UTF8_TEXT = st.text(st.characters(codec="utf-8"), max_size=60)
LONG_TEXT = st.builds(lambda text, times: text * times, ANY_TEXT, st.integers(1, 40))
SIMILAR_TEXT = st.text("aA_./%~b2f\0é\ud83d\ude00", max_size=6)
NAMES = ANY_TEXT | LONG_TEXT | SIMILAR_TEXT


def inside(folder):
    """Return all paths below a folder, as text; a name that escaped would not be there."""
    return [str(path.relative_to(folder)) for path in Path(folder).rglob("*")]


@SETTINGS
@given(old=st.none() | st.binary(max_size=50), new=st.binary() | st.binary().map(lambda data: data * 999))
def test_bytes_come_back(old, new):
    """Any bytes are read back as they were written, whatever was there, and nothing else is left."""
    with tempfile.TemporaryDirectory() as folder:
        target = Path(folder, "out")
        if old is not None:
            target.write_bytes(old)
        atomic_write(target, new, durable="none")
        assert target.read_bytes() == new
        assert inside(folder) == ["out"]


@SETTINGS
@given(
    text=UTF8_TEXT | st.text("a\r\n", max_size=20),
    newline=st.sampled_from([None, "", "\n", "\r", "\r\n"]),
    encoding=st.sampled_from([None, "utf-8", "utf-16", "utf-8-sig", "utf-32-le"]),
)
def test_text_is_what_open_would_write(text, newline, encoding):
    """Any text, newline and encoding give the bytes that a plain open gives."""
    plain = io.BytesIO()
    with io.TextIOWrapper(plain, encoding=encoding or "utf-8", newline=newline) as file:
        file.write(text)
        file.flush()
        expected = plain.getvalue()
    with tempfile.TemporaryDirectory() as folder:
        target = Path(folder, "out")
        atomic_write(target, text, encoding=encoding, newline=newline, durable="none")
        assert target.read_bytes() == expected


@SETTINGS
@given(
    pieces=st.lists(UTF8_TEXT | st.just("x" * 9000), max_size=8),
    fail_after=st.none() | st.integers(0, 8),
    durable=st.sampled_from(["full", "file", "none"]),
)
def test_all_pieces_or_none(pieces, fail_after, durable):
    """A streamed file holds all its pieces, or none if the body fails after any of them."""
    with tempfile.TemporaryDirectory() as folder:
        target = Path(folder, "out")
        target.write_text("old")
        fails = fail_after is not None and fail_after <= len(pieces)
        try:
            with atomic_open(target, newline="", durable=durable) as file:
                for number, piece in enumerate([*pieces, ""]):
                    if fails and number == fail_after:
                        raise InterruptedError  # noqa: TRY301 - this is the body that fails
                    file.write(piece)
        except InterruptedError:
            assert fails
        assert target.read_bytes() == (b"old" if fails else "".join(pieces).encode())
        assert inside(folder) == ["out"]


@SETTINGS
@given(name=st.text(st.characters(codec="utf-8", exclude_characters="/\0"), min_size=1, max_size=300))
@example("x" * 255)
@example("\U0001f600" * 63 + "xyz")
def test_any_file_name(name):
    """Any name that the file system takes can be written, and any other is refused before a trace is left."""
    with tempfile.TemporaryDirectory() as folder:
        try:
            Path(folder, name).touch(exist_ok=False)
            Path(folder, name).unlink()
        except OSError:
            with pytest.raises(OSError, match="destination="):
                atomic_write(f"{folder}/{name}", "x")
            assert inside(folder) == []
        else:
            atomic_write(f"{folder}/{name}", "x", durable="none")
            assert inside(folder) == [name]


@SETTINGS
@given(steps=st.sets(st.tuples(NAMES, NAMES), min_size=2, max_size=8))
@example({("", ""), ("", "a"), ("a", "")})
@example({("a", "b_c"), ("a_b", "c"), ("A", "b_c"), ("a", "B_c")})
@example({("\ud83d\ude00", ""), ("\U0001f600", "")})
@example({("%2f", "/"), ("/", "%2f"), ("..", ".."), ("\0", "\0")})
def test_each_step_of_each_run_has_a_marker_of_its_own(steps):
    """Any names and run ids: one marker each, in the directory, told apart even by letters of one case."""
    with tempfile.TemporaryDirectory() as folder:
        for run, name in steps:
            checkpoints = Checkpoints(f"{folder}/marks", run_id=run)
            assert not checkpoints.step_done(name)
            checkpoints.mark_done(name)
        for run in {run for run, _ in steps}:
            expected = sorted(name for other, name in steps if other == run)
            assert Checkpoints(f"{folder}/marks", run_id=run).done() == expected
        paths = inside(f"{folder}/marks")
        markers = [path for path in paths if path.endswith(".done")]
        assert os.listdir(folder) == ["marks"]
        assert len({path.lower() for path in markers}) == len(steps)
        assert len(paths) == len(steps) + len({run for run, _ in steps if run})


@SETTINGS
@given(name=NAMES, run=NAMES, data=st.data())
def test_damage_is_never_taken_for_done(name, run, data):
    """A marker with any one byte changed, or cut anywhere, is not done, not listed, and repaired."""
    with tempfile.TemporaryDirectory() as folder:
        checkpoints = Checkpoints(f"{folder}/marks", run_id=run)
        checkpoints.mark_done(name)
        (marker,) = Path(folder).rglob("*.done")
        whole = marker.read_bytes()
        place = data.draw(st.integers(0, len(whole) - 1))
        byte = data.draw(st.integers(0, 255))
        assume(byte != whole[place])
        for damaged in (whole[:place], whole[:place] + bytes([byte]) + whole[place + 1 :]):
            marker.write_bytes(damaged)
            assert not checkpoints.step_done(name)
            assert checkpoints.done() == []
        checkpoints.mark_done(name)
        assert marker.read_bytes() == whole


@SETTINGS
@given(st.lists(st.lists(st.integers(0, 7), max_size=3), max_size=8))
def test_order_is_the_given_one_but_for_what_must_come_before(after):
    """Of the steps that may run, the first is next; where none may, and some are left, it is an error."""
    before = {
        str(number): [str(other) for other in others if other < len(after)]
        for number, others in enumerate(after)
    }
    order = []
    while ready := [name for name in before if name not in order and not set(before[name]) - {*order}]:
        order.append(ready[0])
    if len(order) == len(before):
        assert ordered(before) == order
    else:
        with pytest.raises(ValueError, match="in a circle"):
            ordered(before)


PLACES = ("/a", "/a/b", "/a/b/c", "/ab", "/b", "/a/c", "/")


@SETTINGS
@given(st.permutations(PLACES))
def test_places_overlap_where_one_is_in_the_other(places):
    """What is found is what is at the path, above it or inside it, in the order in which it was given."""
    made = _Places()
    for place in places[:-1]:
        made.add(place, (place, place))
    whole = [place.rstrip("/") + "/" for place in places]
    inside = [one.startswith(whole[-1]) or whole[-1].startswith(one) for one in whole[:-1]]
    expected = [place for place, overlaps in zip(places[:-1], inside, strict=True) if overlaps]
    assert [name for name, _ in made.overlapping(places[-1])] == expected


@SETTINGS
@given(
    names=st.lists(SIMILAR_TEXT, unique=True, max_size=6),
    failures=st.lists(st.integers(0, 5), max_size=3),
)
def test_pipeline_goes_on_where_it_stopped(names, failures):
    """However often it is stopped, and wherever, each step ends once, in order, and is then skipped."""
    with tempfile.TemporaryDirectory() as folder:
        checkpoints = Checkpoints(f"{folder}/marks")
        ended = []

        def make(name, number, stop):
            def step():
                if number == stop:
                    raise InterruptedError
                ended.append(name)

            return name, step

        for stop in [*failures, None]:
            steps = [make(name, number, stop) for number, name in enumerate(names)]
            before = len(ended)
            try:
                results = run_steps(steps, checkpoints=checkpoints, report=str)
            except InterruptedError:
                assert len(ended) == stop
        assert ended == names
        assert results == [
            StepResult(name, "skipped" if number < before else "ran") for number, name in enumerate(names)
        ]


class CheckpointsAgainstASet(RuleBasedStateMachine):
    """Checkpoints do what a set of pairs does, in any order of calls, for any names."""

    names = Bundle("names")
    runs = Bundle("runs")

    def __init__(self):
        super().__init__()
        self.folder = tempfile.mkdtemp()
        self.model = set()

    def teardown(self):
        shutil.rmtree(self.folder)

    def of(self, run):
        return Checkpoints(f"{self.folder}/marks", run_id=run)

    @rule(target=names, name=NAMES)
    def new_name(self, name):
        return name

    @rule(target=runs, run=st.just("") | NAMES)
    def new_run(self, run):
        return run

    @rule(run=runs, name=names)
    def mark(self, run, name):
        self.of(run).mark_done(name)
        self.model.add((run, name))

    @rule(run=runs, name=names)
    def ask(self, run, name):
        assert self.of(run).step_done(name) == ((run, name) in self.model)

    @rule(run=runs, name=names)
    def clear(self, run, name):
        self.of(run).clear(name)
        self.model.discard((run, name))

    @rule(run=runs)
    def clear_run(self, run):
        self.of(run).clear()
        self.model = {(other, name) for other, name in self.model if other != run}

    @rule(run=runs, name=names)
    def damage(self, run, name):
        assume((run, name) in self.model)
        before = set(Path(self.folder).rglob("*.done"))
        self.of(run).clear(name)
        (marker,) = before - set(Path(self.folder).rglob("*.done"))
        marker.write_bytes(b"")
        self.model.discard((run, name))

    @rule(run=runs)
    def list_run(self, run):
        assert self.of(run).done() == sorted(name for other, name in self.model if other == run)

    @invariant()
    def nothing_is_outside(self):
        assert set(os.listdir(self.folder)) <= {"marks"}


class TestCheckpointsAgainstASet(CheckpointsAgainstASet.TestCase):
    """Any interleaving of mark, ask, clear and damage agrees with a set."""

    settings = settings(SETTINGS, max_examples=40, stateful_step_count=30)
