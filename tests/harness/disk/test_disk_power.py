"""The model of a power cut: which files it may leave, by hand-made traces and against brute force."""

import errno
import os
import random
from dataclasses import replace
from pathlib import Path

import pytest
from _ops import fsync, make, op, rename, truncate, write
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from outlive_harness.disk.model import Disk, UnmodelledError
from outlive_harness.disk.power import LostError, PowerModel
from outlive_harness.disk.profiles import PROFILES
from outlive_harness.disk.tree import Entry, digest_bytes, scan
from outlive_harness.results.ops import Detail, Op, Seen
from outlive_harness.trial.power_cuts import FindPowerCuts, power_cuts
from outlive_harness.trial.recording import Recording

ALL = list(PROFILES)
SYNCED = os.O_WRONLY | os.O_DSYNC


def found(state):
    """Return a state's files as contents by path; a directory is None."""
    return {path: state.read(path) if entry.kind == "file" else None for path, entry in state.tree().items()}


def left(model, at=None, **more):
    """Return all that a power cut may leave after an op."""
    at = len(model.history.ops) if at is None else at
    return [found(state) for state in model.states(at, budget=10_000, **more)]


@pytest.fixture
def start(tmp_path):
    """A directory that is on the disk before the first op."""
    directory = tmp_path / "start"
    (directory / "d").mkdir(parents=True)
    (directory / "e").mkdir()
    (directory / "old").write_bytes(b"old")
    (directory / "d" / "in").write_bytes(b"in")
    return directory


#: what start() makes
OLD = {"d": None, "e": None, "old": b"old", "d/in": b"in"}


def without(*paths):
    return {path: data for path, data in OLD.items() if path not in paths}


def same(states, *expected):
    assert sorted(map(repr, map(sorted, (one.items() for one in states)))) == sorted(
        map(repr, map(sorted, (one.items() for one in expected)))
    )


# -- what syncs persist ------------------------------------------------------------------------------


def test_fsync_of_a_file_persists_its_data_but_not_its_name(start):
    """All of the file or no file, never a part of it."""
    big = b"x" * 5000
    same(left(PowerModel(start, [make("a"), write("a", big), fsync("a")])), OLD, OLD | {"a": big})


@pytest.mark.parametrize("kind", ["fsync", "fdatasync"])
def test_sync_of_an_old_file_persists_what_was_written(start, kind):
    """Data and size are durable: one state is left."""
    ops = [write("old", b"new", 3), op(kind, "old")]
    same(left(PowerModel(start, ops)), OLD | {"old": b"oldnew"})


def test_a_sync_that_has_not_returned_persists_nothing(start):
    """At the moment of the fsync itself all may be lost, and a replay id of it says so."""
    model = PowerModel(start, [write("old", b"X"), fsync("old")])
    same(left(model, returned=False), OLD, OLD | {"old": b"Xld"})
    assert not model.state(2, ["1"]).returned
    assert model.state(2).returned
    with pytest.raises(LostError, match="durable"):
        PowerModel(start, [write("old", b"X"), fsync("old"), make("a")]).state(3, ["1"])


def test_an_attribute_is_persisted_by_fsync_and_not_by_fdatasync(start):
    """A mode is not needed to read data back."""
    for kind, count in (("fsync", 1), ("fdatasync", 2)):
        model = PowerModel(start, [op("chmod", "old", mode=0o600), op(kind, "old")])
        assert len(left(model)) == count


def test_fsync_of_a_directory_persists_its_names_and_no_data(start):
    """The name is there; the content may be nothing, zeros or the first half."""
    states = left(PowerModel(start, [make("a"), write("a", b"xy"), fsync("")]))
    assert {state["a"] for state in states} == {b"", b"\0", b"\0\0", b"x", b"x\0", b"xy"}
    same(left(PowerModel(start, [make("d/a"), fsync("")])), OLD, OLD | {"d/a": b""})
    same(left(PowerModel(start, [make("d/a"), op("fdatasync", "d")])), OLD | {"d/a": b""})


def test_a_rename_across_directories_has_its_new_name_first(start):
    """Never neither name; the fsync of the new directory may leave both, that of the old one not."""
    moved, both = without("d/in") | {"e/out": b"in"}, OLD | {"e/out": b"in"}
    same(left(PowerModel(start, [rename("d/in", "e/out"), fsync("")])), OLD, both, moved)
    same(left(PowerModel(start, [rename("d/in", "e/out"), fsync("e")])), both, moved)
    same(left(PowerModel(start, [rename("d/in", "e/out"), fsync("d")])), moved)


def test_a_directory_moves_in_one_step(start):
    """It is never in two places, whichever of its parents is persisted."""
    for parent in ("d", ""):
        assert len(left(PowerModel(start, [rename("e", "d/e"), fsync(parent)]))) == 1
    assert len(left(PowerModel(start, [rename("e", "d/e")]))) == 2


@pytest.mark.parametrize("kind", ["sync", "syncfs"])
def test_sync_persists_all(start, kind):
    """One state is left, of everything before it."""
    ops = [make("a"), write("a", b"a"), op("unlink", "old"), op("mkdir", "f", mode=0o755), op(kind)]
    same(left(PowerModel(start, ops)), without("old") | {"a": b"a", "f": None})
    assert len(left(PowerModel(start, [*ops, make("b")]))) == 2


@pytest.mark.parametrize("flag", [os.O_SYNC, os.O_DSYNC])
def test_a_synchronous_write_persists_itself_but_no_name(start, flag):
    """It takes the size that it needs along, and no other data."""
    ops = [make("a"), write("a", b"abc", flags=os.O_WRONLY | flag)]
    same(left(PowerModel(start, ops)), OLD, OLD | {"a": b"abc"})
    ops = [write("old", b"X" * 4096), write("old", b"Y", 4096, flags=os.O_WRONLY | flag)]
    contents = {state["old"] for state in left(PowerModel(start, ops))}
    assert {len(content) for content in contents} == {4097}
    assert {content[4096:] for content in contents} == {b"Y"}
    assert {content[0] for content in contents} == {ord("o"), ord("X")}


def test_a_synchronous_write_takes_along_no_growth_that_it_does_not_need(start):
    """What an earlier write appended is not needed to read an overwrite of the beginning back."""
    ops = [write("old", b"+", 3), write("old", b"X", flags=os.O_WRONLY | os.O_DSYNC)]
    assert {state["old"] for state in left(PowerModel(start, ops))} == {b"Xld", b"Xld+"}


def test_rwf_dsync_and_rwf_sync_count_as_the_flags_do(start):
    """Flags of the call itself make a write synchronous."""
    info = (start / "old").stat()
    seen = Seen(info.st_dev, info.st_ino, info.st_mode, 1, 3)
    for how, count in ((0, 2), (2, 1), (4, 1)):
        detail = Detail(seen, how=how, opened=os.O_WRONLY)
        one = Op("write", "pwritev2", "old", length=1, flags=os.O_WRONLY, data=b"X", detail=detail)
        assert len(left(PowerModel(start, [one]))) == count


def test_sync_file_range_persists_nothing(start):
    """It starts a write-back, and promises neither size nor names (sync_file_range(2))."""
    ops = [write("old", b"X"), op("sync_file_range", "old", length=1)]
    same(left(PowerModel(start, ops)), OLD, OLD | {"old": b"Xld"})


@pytest.mark.parametrize("kind", ["fsync", "fdatasync", "sync"])
def test_a_sync_that_fails_persists_nothing(start, kind):
    """An fsync through a descriptor that allows none returns EBADF, and all may still be lost."""
    failed = Op(kind, kind, "old", detail=Detail(fails=errno.EBADF))
    same(left(PowerModel(start, [write("old", b"X"), failed])), OLD, OLD | {"old": b"Xld"})


def test_a_synchronous_write_that_fails_persists_nothing(start):
    """It writes nothing, and makes what was written before it no more durable than it was."""
    failed = replace(write("old", b"YY", 1, os.O_WRONLY | os.O_SYNC), detail=Detail(fails=errno.EFBIG))
    ops = [op("chmod", "old", mode=0o600), failed]
    assert len(left(PowerModel(start, ops))) == 2


# -- what may be lost --------------------------------------------------------------------------------


def test_a_truncation_is_there_or_not_and_what_it_clears_may_be_apart(start):
    """The size alone, the cleared rest alone, both or neither."""
    contents = [state["old"] for state in left(PowerModel(start, [truncate("old", 1)]))]
    assert sorted(contents) == [b"o", b"o\0\0", b"old"]
    contents = [state["old"] for state in left(PowerModel(start, [truncate("old", 5)]))]
    assert sorted(contents) == [b"old", b"old\0\0"]
    same(left(PowerModel(start, [truncate("old", 0)])), OLD, OLD | {"old": b""})


@pytest.mark.parametrize("profile", ALL)
def test_a_gap_that_is_filled_leaves_the_ends_of_its_blocks_as_sizes(start, profile):
    """What was written last may be on the disk alone: the file then ends with its block, not with the gap."""
    ops = [write("old", b"!", 5 * 4096), write("old", b"x" * 4096, 4096), write("old", b"y" * 4096)]

    def sizes(*ops):
        model = PowerModel(start, ops, profile)
        states = list(model.states(len(ops), budget=9999))
        assert all(model.admits(state, len(ops)) for state in states)
        assert all(model.admits(state.tree(), len(ops)) for state in states)
        return {len(state.read("old")) for state in states}

    assert sizes(ops[0]) == {3, 4096, 5 * 4096 + 1}
    assert sizes(*ops[:2]) == sizes(*ops) == {3, 4096, 8192, 5 * 4096 + 1}
    assert sizes(*ops, fsync("old")) == {5 * 4096 + 1}
    assert sizes(ops[0], truncate("old", 5 * 4096), *ops[1:]) <= {3, 4096, 5 * 4096, 5 * 4096 + 1}
    synced = write("old", b"y" * 4096, 4096, SYNCED)
    assert sizes(ops[0], synced) == sizes(ops[0], synced, ops[2]) == {8192, 5 * 4096 + 1}
    assert sizes(ops[0], write("old", b"z", 9000), synced) == {8192, 3 * 4096, 5 * 4096 + 1}


@pytest.mark.parametrize("profile", [name for name in ALL if name not in ("strict", "btrfs")])
def test_of_a_gap_just_what_a_disk_may_leave_is_admitted(start, profile):
    """Of all that strict allows a disk's model admits its own states alone, sizes on the way included."""
    many = [write("old", b"!", 3 * 4096), write("old", b"x", 8192), write("old", b"y", 4096)]
    for ops in (
        many,
        [*many[:2], write("old", b"y", 4096, SYNCED)],
        [many[0], truncate("old", 9000), many[2]],
    ):
        model = PowerModel(start, ops, "strict")
        own = {state.digest for state in model.under(profile).states(3, budget=999)}
        every = list(model.states(3, budget=999))
        assert own <= {state.digest for state in every}
        for state in every:
            assert model.under(profile).admits(state, 3) == (state.digest in own)


def test_names_come_and_go_each_alone(start):
    """A link and an unlink of another name may each be lost; a name's own changes stay in order."""
    gone = without("old")
    states = left(PowerModel(start, [op("link", "old", "new"), op("unlink", "old")]))
    same(states, OLD, OLD | {"new": b"old"}, gone, gone | {"new": b"old"})
    states = left(PowerModel(start, [op("unlink", "old"), make("old"), op("unlink", "old")]))
    same(states, OLD, gone, OLD | {"old": b""})


def test_a_replacing_rename_leaves_the_old_file_or_the_new_and_never_neither(start):
    """In posix the name always stands; in strict the source may be there as well, or gone with it lost."""
    ops = [make("t"), write("t", b"n"), fsync("t"), fsync(""), rename("t", "old")]
    before, after = OLD | {"t": b"n"}, OLD | {"old": b"n"}
    same(left(PowerModel(start, ops)), before, after)
    same(left(PowerModel(start, ops, "strict")), before, after, OLD, before | after)


def test_an_exchange_of_two_names_is_one_step(start):
    """Both files or neither have changed places."""
    swapped = OLD | {"old": b"in", "d/in": b"old"}
    same(left(PowerModel(start, [rename("old", "d/in", flags=2)])), OLD, swapped)


def test_a_chain_of_renames_persists_in_order(start):
    """A file that moved twice cannot be at its last place without having been at the one before."""
    states = left(PowerModel(start, [rename("old", "b"), rename("b", "c")]))
    same(states, OLD, without("old") | {"b": b"old"}, without("old") | {"c": b"old"})


def test_a_directory_with_two_names_and_one_in_itself_are_states_of_strict(start, tmp_path):
    """Where the halves of a rename come apart, each state still has a digest, files and an admission."""
    ops = [rename("d", "e/d"), rename("e/d", "d"), rename("e", "d/e")]
    model = PowerModel(start, ops, "strict")
    states = list(model.states(3, budget=1000))
    trees = {repr(sorted(state.tree().items())) for state in states}
    assert len(trees) == len(states)
    for number, state in enumerate(states):
        where = tmp_path / f"made{number}"
        where.mkdir()
        state.write_to(where)
        assert scan(where) == state.tree()
        # Of two directories that are in one another the files show one name a place, and not both.
        assert model.admits(where, 3) or {"d/e", "e/d"} <= state.tree().keys()


def unnamed(data, name):
    """Return ops that make a file by O_TMPFILE, write it and give it a name; its number is 5 each time."""

    def one(kind, target="", size=0, **more):
        detail = Detail(Seen(1, 5, 0o100644, 0, size))
        return Op(kind, kind, "#5", target, flags=os.O_WRONLY, detail=detail, **more)

    made = op("open", "", flags=os.O_TMPFILE | os.O_WRONLY, mode=0o644)
    return [made, one("write", data=data, length=len(data), offset=0), one("link", name, len(data))]


def test_a_file_without_a_name_is_told_from_the_one_that_had_its_number(start):
    """The number of a file that is gone is free again, and given to the next one that has no name yet."""
    ops = [*unnamed(b"first", "a"), op("unlink", "a"), *unnamed(b"2", "b"), fsync("b"), op("sync")]
    same(left(PowerModel(start, ops)), OLD | {"b": b"2"})


@pytest.mark.parametrize("flags", [8, 32])
def test_what_is_left_of_blocks_that_move_is_not_known(start, flags):
    """fallocate(2) takes a range out or puts one in: a kill leaves what it did, a power cut who knows."""
    ops = [write("old", b"x" * 9000), op("fallocate", "old", offset=4096, length=4096, flags=flags)]
    with pytest.raises(UnmodelledError, match="fallocate old: what persists of moved blocks"):
        PowerModel(start, ops)
    disk = Disk.load(start)
    for one in ops:
        disk.apply(one)
    assert disk.tree()["old"].size == (9000 - 4096 if flags == 8 else 9000 + 4096)


def test_a_hole_that_is_punched_takes_the_size_to_its_end(start):
    """As ext4 does: what was appended past the hole may be lost, and the hole be there."""
    ops = [write("old", b"x" * 5000), op("fallocate", "old", offset=99, length=1, flags=3)]
    for profile in ("posix", "ext4"):
        sizes = {len(state["old"]) for state in left(PowerModel(start, ops, profile))}
        assert sizes == {3, 100, 4096, 5000}


def test_a_long_append_is_lost_but_for_its_first_block(start):
    """Its pieces are larger than blocks, but what a last block has left is one of them."""
    model = PowerModel(start, [write("old", b"x" * (3 << 20), 3)], "ext4")
    parts = len(model.history.parts(1))
    state = model.state(1, [f"1.{part}" for part in range(3, parts + 1)])
    assert state.read("old") == b"old" + b"x" * 4093


# -- how many there are ------------------------------------------------------------------------------


def planned(model, ops, said, numbers, limit):
    """Return the power cuts that are planned in a run, and whether there may be more."""
    wanted = FindPowerCuts(Path(), (), "power", "posix", seed=0, limit=limit)
    return power_cuts(wanted, Recording(b"", Path(), ops, starts=[0], said=said), model, numbers)


def cuts(ops, limit=2048, profile="posix"):
    """Return how many power cuts are planned in a run, and whether there may be more."""
    model = PowerModel(Disk(), ops, profile)
    points, has_more = planned(model, ops, [0] * (len(ops) + 1), range(1, len(ops) + 1), limit)
    return len(points), has_more


def test_all_sets_are_tried_where_they_are_few():
    """Of eight names that are each there or not all 256 states are found."""
    names = [op("mkdir", f"d{number}", mode=0o755) for number in range(8)]
    assert cuts(names) == (256, False)
    assert cuts(names, profile="ext4") == (9, False)


def test_it_is_told_that_there_are_more():
    """Where an op's share is used up, or its random sets are given up; not where it was just enough."""
    names = [op("mkdir", f"d{number}", mode=0o755) for number in range(12)]
    count, has_more = cuts(names)
    assert count < 2**12
    assert has_more
    assert cuts(names[:2], limit=4) == (4, False)
    assert cuts(names[:2], limit=3) == (3, True)


@pytest.mark.parametrize("profile", ALL)
def test_power_fails_within_a_write_that_is_its_own_sync(start, profile):
    """A part of what an O_DSYNC write is about to make durable may be there, as of one that fsync follows."""
    two = b"x" * 8192
    contents = []
    for ops in ([write("old", two, flags=SYNCED)], [write("old", two), fsync("old")]):
        model = PowerModel(start, ops, profile)
        numbers = range(1, len(ops) + 1)
        points, _ = planned(model, ops, [0] * (len(ops) + 1), numbers, 99)
        contents.append({model.find(point.at, point.lost).read("old") for point in points})
    assert contents[0] == contents[1] > {b"old", b"x" * 4096, two}


def test_within_an_op_nothing_is_asked_for_that_was_promised_once_it_had_returned(start):
    """A point says whether the op had returned, by what it lacks; where it does not, it is none."""
    ops = [op("link", "old", "new"), op("chmod", "old", mode=0o600), write("old", b"NEW", flags=SYNCED)]
    for profile in ALL:
        model = PowerModel(start, ops, profile)
        points, _ = planned(model, ops, [0, 0, 0, 1], [3], 999)
        within = {state.digest for state in model.states(3, budget=999, returned=False)}
        after = {state.digest for state in model.states(3, budget=999)}
        states = [model.find(3, point.lost) for point in points]
        assert {state.digest for state in states if state.returned} == after
        assert {state.digest for state in states if not state.returned} <= within
        assert any(not state.returned for state in states)


@pytest.mark.parametrize("profile", ALL)
def test_while_a_sync_is_under_way_all_is_as_it_was_before(start, profile):
    """What may be lost, and with what, is as after the op before it, however the log of a btrfs changes."""
    replaced = [make("b"), write("b", b"p"), fsync("b"), make(".b"), rename(".b", "b"), make("c"), fsync("c")]
    for ops in (LONG, replaced, [make("a"), make("b"), op("mkdir", "f", mode=0o755), fsync("b"), fsync("")]):
        model = PowerModel(start, ops, profile)
        for at in [at for at, one in enumerate(ops, 1) if one.kind == "fsync"]:
            assert model.loose(at, returned=False) == model.loose(at - 1)
            for number in range(model.history.end[at]):
                one = 1 << number
                assert model.close(at, one, returned=False) == model.close(at - 1, one)
                assert model.keep(at, one, returned=False) == model.keep(at - 1, one)


# -- replay ids --------------------------------------------------------------------------------------

LONG = (
    make("a"), write("a", b"x" * 9000), rename("a", "old"), op("chmod", "old", mode=0o600),
    truncate("old", 5000), op("link", "old", "d/l"), write("old", b"yy", 4999), op("symlink", "s", "old"),
    op("unlink", "d/in"), op("mkdir", "e/f", mode=0o700), rename("e/f", "d/g"), make("d/g/h"),
    fsync("old"), fsync("d"), write("d/g/h", b"h" * 4100),
)  # fmt: skip


@pytest.mark.parametrize("profile", ["strict", "posix", "btrfs", "xfs", "ext4", "ext4-ordered"])
def test_what_a_state_lacks_names_it(start, profile, tmp_path):
    """model.state(at, state.lost) is the state again; its files can be made, and read back."""
    model = PowerModel(start, LONG, profile)
    trees = {}
    for at in range(len(LONG) + 1):
        for state in model.states(at, budget=60):
            again = model.state(at, state.lost)
            assert (again.digest, again.lost) == (state.digest, state.lost)
            tree = state.tree()
            assert trees.setdefault(state.digest, tree) == tree
            assert found(again) == found(state)
    assert len({repr(sorted(tree.items())) for tree in trees.values()}) == len(trees)
    for number, state in enumerate(model.states(len(LONG), budget=25)):
        where = tmp_path / f"made{number}"
        where.mkdir()
        state.write_to(where)
        assert scan(where) == state.tree()
        assert model.admits(where, len(LONG))


@pytest.mark.parametrize(
    "name",
    [
        "",
        "0",
        "3",
        "-1",
        "x",
        "1.",
        "1.0",
        "1.9",
        "1.x",
        ".1",
        "1/1",
        "0/1",
        "/1",
        "1/",
        "²",
        "1 ",
        "9" * 5000,
    ],
)
def test_a_malformed_name_of_what_is_lost_is_refused(start, name):
    """LostError, whatever it is."""
    with pytest.raises(LostError):
        PowerModel(start, [write("old", b"XY"), fsync("d")]).state(2, [name])


def test_what_cannot_be_lost_alone_is_refused(start):
    """A later change of the same name cannot persist without the earlier one."""
    model = PowerModel(start, [make("a"), rename("a", "b"), op("unlink", "b")])
    with pytest.raises(LostError, match=r"after op 3, 2\.1 cannot persist"):
        model.state(3, ["1"])
    assert found(model.state(3, ["2", "3"])) == OLD | {"a": b""}
    with pytest.raises(ValueError, match="there is no op 4"):
        model.state(4)
    assert str(model.state(3, ["3"])) == "3-3"
    assert str(model.state(3)) == "3"


def test_ops_of_earlier_runs_are_named_by_run_and_place(start):
    """`1/2` is op 2 of the first run, a name without a slash is of the last."""
    model = PowerModel(start, [make("a"), make("b"), make("c"), make("f")], starts=(0, 2, 3))
    state = model.state(4, ["1/2", "2/1", "1"])
    assert found(state) == OLD | {"a": b""}
    assert state.lost == ("1/2", "2/1", "1")
    early = model.state(2, ["1/1"])
    assert early.lost == ("1/1",)
    for at, name in ((4, "3/1"), (4, "1/3"), (4, "2"), (2, "2/1"), (1, "1/2"), (2, "1"), (4, "1/1/1")):
        with pytest.raises(LostError):
            model.state(at, [name])


def test_digests_tell_apart_just_what_the_tree_does(start):
    """A link that was made again is the link it was; a mode counts."""
    (start / "link").symlink_to("x")
    model = PowerModel(start, [op("unlink", "link"), op("symlink", "link", "x")])
    assert len(list(model.states(2))) == 2
    assert len(list(PowerModel(start, [op("chmod", "old", mode=0o600)]).states(1))) == 2


# -- against brute force -----------------------------------------------------------------------------


class Oracle:
    """All that posix or strict allows of a small program, by hand-written rules and enumeration.

    Writes lie within one block. An atom is (what it sets, which atoms must be there before it).
    """

    def __init__(self, program, profile="posix"):
        self.profile = profile
        self.names = {("", "f"): 1, ("d", "g"): 2}
        self.files = {1: (b"FFFF", 0o644), 2: (b"GG", 0o644)}
        self.size = {1: 4, 2: 2}
        self.block = {1: 4, 2: 2}  # bytes of the block that were ever written
        self.atoms, self.ops, self.last, self.durable = [], [], {}, set()
        self.sizes = {1: [], 2: []}
        self.before = dict(self.names), dict(self.size)
        self.mode = {1: 0o644, 2: 0o644}
        self.trace, self.paths = [], {"f": ("", "f"), "h": ("", "h"), "d/g": ("d", "g"), "d/i": ("d", "i")}
        for kind, *rest in program:
            first = len(self.atoms)
            getattr(self, "do_" + kind)(*rest)
            self.ops.append(range(first, len(self.atoms)))

    def add(self, sets, needs=(), *, chained=True):
        number = len(self.atoms)
        chain = {self.last[key] for key, _ in sets if chained and key in self.last}
        self.atoms.append((sets, chain | set(needs)))
        self.last.update((key, number) for key, _ in sets)
        return number

    def hold(self, numbers):
        waiting = list(numbers)
        while waiting:
            number = waiting.pop()
            if number not in self.durable:
                self.durable.add(number)
                waiting += self.atoms[number][1]

    def about(self, *keys):
        return [number for number, (sets, _) in enumerate(self.atoms) if {key for key, _ in sets} & set(keys)]

    def do_make(self, path):
        self.trace.append(make(path))
        key = self.paths[path]
        if key not in self.names:
            number = self.names[key] = len(self.files) + 1
            self.files[number] = (b"", 0o644)
            self.size[number], self.mode[number], self.sizes[number] = 0, 0o644, []
            self.add([(("name", key), number)])

    def grow(self, number, size):
        at = self.add([(("size", number), size)], chained=False)
        self.sizes[number].append((at, self.size[number], size))
        self.size[number] = size
        return at

    def do_write(self, path, offset, data, flags=0):
        self.trace.append(write(path, data, offset, os.O_WRONLY | flags))
        number = self.names.get(self.paths[path])
        if number is None:
            return
        first, half = len(self.atoms), len(data) // 2
        middle = (offset + offset + len(data)) // 2 - offset
        assert half == middle or len(data) % 2
        for begin, end in ((0, middle), (middle, len(data))):
            if begin == end:
                continue
            if offset + end > self.size[number]:
                self.grow(number, offset + end)
            self.add([(("block", number), (offset + begin, data[begin:end]))])
            self.block[number] = max(self.block.get(number, 0), offset + end)
        if flags:
            needed = []
            for at, before, _ in reversed(self.sizes[number]):
                if before < offset + len(data):
                    needed = [one for one, _, _ in self.sizes[number] if one <= at]
                    break
            modes = self.about(("mode", number)) if flags == os.O_SYNC else []
            self.hold([*range(first, len(self.atoms)), *needed, *modes])

    def do_truncate(self, path, size):
        self.trace.append(truncate(path, size))
        number = self.names.get(self.paths[path])
        if number is None or size == self.size[number] == 0:
            return
        shorter = size < self.size[number]
        at = self.grow(number, size)
        if shorter and self.block.get(number, 0) > size:
            if size:
                self.add([(("block", number), (size, bytes(self.block[number] - size)))])
            else:
                self.add([(("block", number), None)], [at])
                del self.block[number]

    def do_rename(self, path, target):
        self.trace.append(rename(path, target))
        source, there = self.paths[path], self.paths[target]
        number = self.names.get(source)
        if number is None or number == self.names.get(there):
            return
        del self.names[source]
        self.names[there] = number
        named = [self.last[key] for key in [("name", source)] if key in self.last]
        if self.profile == "posix" and source[0] == there[0]:
            self.add([(("name", source), None), (("name", there), number)])
        else:
            added = self.add([(("name", there), number)], named)
            self.add([(("name", source), None)], [added] if self.profile == "posix" else [])

    def do_link(self, path, target):
        self.trace.append(op("link", path, target))
        number = self.names.get(self.paths[path])
        if number is not None and self.paths[target] not in self.names:
            self.names[self.paths[target]] = number
            self.add([(("name", self.paths[target]), number)])

    def do_unlink(self, path):
        self.trace.append(op("unlink", path))
        if self.names.pop(self.paths[path], None) is not None:
            self.add([(("name", self.paths[path]), None)])

    def do_chmod(self, path, mode):
        self.trace.append(op("chmod", path, mode=mode))
        number = self.names.get(self.paths[path])
        if number is not None and self.mode[number] != mode:
            self.mode[number] = mode
            self.add([(("mode", number), mode)])

    def do_sync(self, kind, path=""):
        self.trace.append(op(kind, path))
        if kind == "sync":
            self.hold(range(len(self.atoms)))
        elif path in ("", "d"):
            names = self.about(*(("name", key) for key in self.paths.values() if key[0] == path))
            self.hold(names)
        elif (number := self.names.get(self.paths[path])) is not None:
            modes = [("mode", number)] if kind == "fsync" else []
            self.hold(self.about(("size", number), ("block", number), *modes))

    def sets(self, durable):
        """Yield all sets of atoms that hold what is durable and what each of them needs."""
        kept = set()

        def further(number):
            if number == len(self.atoms):
                yield kept
                return
            if self.atoms[number][1] <= kept:
                kept.add(number)
                yield from further(number + 1)
                kept.discard(number)
            if number not in durable:
                yield from further(number + 1)

        return further(0)

    def close(self, gone):
        """Add what cannot be without what is gone."""
        gone = set(gone) - self.durable
        for number, (_, needs) in enumerate(self.atoms):
            if needs & gone:
                gone.add(number)
        return set(range(len(self.atoms))) - gone

    def files_of(self, kept):
        """Return (path, mode, content) of what such a set leaves."""
        names, sizes = dict(self.before[0]), dict(self.before[1])
        contents = {number: content for number, (content, _) in self.files.items()}
        modes = {number: mode for number, (_, mode) in self.files.items()}
        for number in sorted(kept):
            for (aspect, key), value in self.atoms[number][0]:
                if aspect == "name":
                    names[key] = value
                elif aspect == "size":
                    sizes[key] = value
                elif aspect == "mode":
                    modes[key] = value
                elif value is None:
                    contents[key] = b""
                else:
                    at, data = value
                    old = contents[key].ljust(at, b"\0")
                    contents[key] = old[:at] + data + old[at + len(data) :]
        return frozenset(
            (
                f"{top}/{name}".lstrip("/"),
                modes[number],
                contents[number].ljust(100, b"\0")[: sizes.get(number, 0)],
            )
            for (top, name), number in names.items()
            if number is not None
        )


PATHS = st.sampled_from(["f", "h", "d/g", "d/i"])
DATA = st.sampled_from([b"1", b"23", b"456"])
PROGRAMS = st.lists(
    st.one_of(
        st.tuples(st.just("make"), PATHS),
        st.tuples(st.just("write"), PATHS, st.sampled_from([0, 1, 4, 6]), DATA),
        st.tuples(
            st.just("write"), PATHS, st.sampled_from([0, 3]), DATA, st.sampled_from([os.O_SYNC, os.O_DSYNC])
        ),
        st.tuples(st.just("truncate"), PATHS, st.sampled_from([0, 1, 3, 9])),
        st.tuples(st.just("rename"), PATHS, PATHS),
        st.tuples(st.just("link"), PATHS, PATHS),
        st.tuples(st.just("unlink"), PATHS),
        st.tuples(st.just("chmod"), PATHS, st.sampled_from([0o600, 0o644])),
        st.tuples(
            st.just("sync"),
            st.sampled_from(["fsync", "fsync", "fdatasync"]),
            PATHS | st.sampled_from(["", "d"]),
        ),
        st.tuples(st.just("sync"), st.just("sync")),
    ),
    min_size=2,
    max_size=8,
)


@pytest.fixture(scope="module")
def before(tmp_path_factory):
    """What the oracle's programs start from."""
    top = tmp_path_factory.mktemp("before")
    (top / "d").mkdir()
    (top / "d").chmod(0o755)
    for name, content in (("f", b"FFFF"), ("d/g", b"GG")):
        (top / name).write_bytes(content)
        (top / name).chmod(0o644)
    return top


def files_of(state):
    return frozenset(
        (path, entry.mode, state.read(path)) for path, entry in state.tree().items() if entry.kind == "file"
    )


def as_tree(files):
    tree = {path: Entry("file", mode, len(data), digest_bytes(data)) for path, mode, data in files}
    return {"d": Entry("dir", 0o755, 0, ""), **tree}


@settings(max_examples=80, derandomize=True, deadline=None, database=None)
@given(program=PROGRAMS, profile=st.sampled_from(["posix", "posix", "strict"]))
def test_states_and_admissions_are_those_of_brute_force(before, program, profile):
    """The states are those that the rules allow, all where they are few, and no other is admitted."""
    oracle = Oracle(program, profile)
    assume(oracle.atoms and len(oracle.atoms) - len(oracle.durable) <= 10 and len(oracle.atoms) <= 12)
    legal = {oracle.files_of(kept) for kept in oracle.sets(oracle.durable)}
    model, at = PowerModel(before, oracle.trace, profile), len(oracle.trace)

    states = list(model.states(at, budget=5000))
    files = [files_of(state) for state in states]
    assert set(files) == legal
    assert len(set(files)) == len({state.digest for state in states}) == len(states)
    again = PowerModel(before, oracle.trace, profile).states(at, budget=5000)
    assert [state.digest for state in again] == [state.digest for state in states]
    assert files[0] == oracle.files_of(oracle.durable)
    telling = [oracle.close(numbers) for numbers in oracle.ops]
    telling += [oracle.close(range(numbers.start, len(oracle.atoms))) for numbers in oracle.ops]
    assert {oracle.files_of(kept) for kept in telling} <= set(files)

    tried = {oracle.files_of(kept) for kept in oracle.sets(set())} | legal
    for one in random.Random(len(tried)).sample(sorted(tried, key=sorted), min(len(tried), 60)):
        contents = {path: data for path, _, data in one}
        assert model.admits(as_tree(one), at, read=contents.__getitem__) == (one in legal), sorted(one)
