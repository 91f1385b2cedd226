"""Persistence profiles: what each disk may leave that another may not, and the label that says so."""

import os

import pytest
from _ops import fsync, make, op, rename, truncate, write
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from outlive_harness.disk.persistence.admit import UndecidedError
from outlive_harness.disk.power import PowerModel
from outlive_harness.disk.profiles import PROFILES, profile_named, strongest_first

ALL = list(PROFILES)
IN_ORDER = ["xfs", "ext4", "ext4-ordered"]


def contents(state):
    return {path: state.read(path) for path, entry in state.tree().items() if entry.kind == "file"}


def left(model, at=None):
    """Return all that a power cut may leave after an op, as contents by path."""
    at = len(model.history.ops) if at is None else at
    return [contents(state) for state in model.states(at, budget=3000)]


@pytest.fixture
def start(tmp_path):
    """A directory that is on the disk before the first op."""
    directory = tmp_path / "start"
    (directory / "d").mkdir(parents=True)
    (directory / "old").write_bytes(b"old")
    (directory / "d" / "in").write_bytes(b"in")
    return directory


# -- renames of what was not synced ------------------------------------------------------------------

UNSYNCED = (make("t"), write("t", b"new"))


@pytest.mark.parametrize(
    ("profile", "over", "to_new"),
    [
        ("posix", {b"old", b"new", b"", b"\0", b"n", b"\0\0\0", b"n\0\0"}, {None}),
        ("xfs", {b"old", b"new", b""}, {None}),
        ("ext4", {b"old", b"new", b"\0\0\0"}, {b"\0\0\0", b""}),
        ("ext4-ordered", {b"old", b"new"}, {b""}),
    ],
)
def test_a_rename_of_an_unsynced_file(start, profile, over, to_new):
    """Over a name, ext4 writes the file's size first; a new name may stand for nothing on any disk."""
    assert {one["old"] for one in left(PowerModel(start, [*UNSYNCED, rename("t", "old")], profile))} == over
    news = {one.get("made") for one in left(PowerModel(start, [*UNSYNCED, rename("t", "made")], profile))}
    assert news == (over - {b"old"}) | to_new | {None}


@pytest.mark.parametrize("profile", [name for name in ALL if name not in ("strict", "btrfs")])
def test_a_synced_file_is_replaced_in_one_step(start, profile):
    """The old or the new content under the name, on every disk whose renames are one step."""
    model = PowerModel(start, [*UNSYNCED, fsync("t"), rename("t", "old")], profile)
    assert {one["old"] for one in left(model)} == {b"old", b"new"}
    assert not any("t" in one for one in left(model) if one["old"] == b"new")


def test_a_log_holds_one_half_of_a_rename(start):
    """Without a journal an fsync of the new directory need not take the old name away; the label says so."""
    ops = [*UNSYNCED, fsync("t"), fsync(""), rename("t", "d/t"), fsync("d")]
    for profile in PROFILES:
        both = [one for one in left(PowerModel(start, ops, profile)) if {"t", "d/t"} <= set(one)]
        assert bool(both) == (profile in ("strict", "posix", "btrfs"))
    model = PowerModel(start, ops, "btrfs")
    assert model.strongest(model.state(6, ["5.1"]))[0] == "btrfs"


# -- order -------------------------------------------------------------------------------------------


@pytest.mark.parametrize("profile", ["posix", *IN_ORDER])
def test_a_synced_marker_survives_a_lost_rename_only_without_a_journal(start, profile):
    """Names persist in order through a journal: what is there says that all before it is."""
    ops = [*UNSYNCED, fsync("t"), rename("t", "old"), make("d/marker"), write("d/marker", b"1")]
    ops += [fsync("d/marker"), fsync("d")]
    states = left(PowerModel(start, ops, profile))
    assert all(one["d/marker"] == b"1" for one in states)
    assert {one["old"] for one in states} == ({b"old", b"new"} if profile == "posix" else {b"new"})


@pytest.mark.parametrize("profile", IN_ORDER)
def test_names_that_are_not_synced_persist_as_a_prefix(start, profile):
    """Of six names the first few are there, and posix may leave any of them."""
    ops = [make(f"d/{number}") for number in range(6)]
    states = {tuple(sorted(one)) for one in left(PowerModel(start, ops, profile))}
    assert len(states) == 7
    model = PowerModel(start, ops)
    subsets = [[str(place + 1) for place in range(6) if mask >> place & 1] for mask in range(64)]
    assert len({model.state(6, lost).digest for lost in subsets}) == 64


@pytest.mark.parametrize("profile", ["btrfs", *IN_ORDER])
def test_names_persist_in_order_while_a_write_that_commits_them_is_under_way(start, profile):
    """Before its return, what it makes durable persists in the same order as anything else."""
    ops = [make("d/0"), make("d/1"), write("d/1", b"x", flags=os.O_WRONLY | os.O_SYNC)]
    states = [contents(state) for state in PowerModel(start, ops, profile).states(3, returned=False)]
    assert {("d/0" in one, "d/1" in one) for one in states} == {(False, False), (True, False), (True, True)}


@pytest.mark.parametrize("profile", IN_ORDER)
def test_a_sync_with_nothing_of_its_own_to_commit_commits_nothing(start, profile):
    """The fsync of a file that did not change leaves others' renames as they are."""
    states = left(PowerModel(start, [rename("d/in", "d/out"), fsync("old")], profile))
    assert {"d/in" in one for one in states} == {True, False}


@pytest.mark.parametrize("profile", ALL)
def test_a_write_within_a_block_is_torn_only_where_blocks_are(start, profile):
    """Disks with a journal write blocks as a whole."""
    states = {one["old"] for one in left(PowerModel(start, [write("old", b"NEW")], profile))}
    assert states == {b"old", b"NEW"} | ({b"Nld"} if profile in ("strict", "posix") else set())


def test_a_size_comes_after_its_data_on_xfs(start):
    """An append shows no zeros there, and may on ext4 as it is mounted by default."""
    ops = [make("a"), fsync("a"), fsync(""), write("a", b"x" * 4096)]
    for profile, zeros in (("xfs", False), ("ext4-ordered", False), ("ext4", True), ("posix", True)):
        assert any(b"\0" in one["a"] for one in left(PowerModel(start, ops, profile))) == zeros


def test_sync_file_range_lifts_the_order_of_growths(start):
    """On ext4-ordered a second append is not there without the first, unless parts were written back."""
    ops = [truncate("old", 0), fsync("old"), write("old", b"1" * 4096), write("old", b"2", 4096)]
    torn = bytes(4096) + b"2"
    assert torn not in [one["old"] for one in left(PowerModel(start, ops, "ext4-ordered"))]
    ops.append(op("sync_file_range", "old"))
    assert torn in [one["old"] for one in left(PowerModel(start, ops, "ext4-ordered"))]


# -- which states are of which disks -----------------------------------------------------------------

NAMES = st.sampled_from(["old", "new", "d/in", "d/out"])
OPS = st.one_of(
    st.builds(make, NAMES),
    st.builds(
        write, NAMES, st.sampled_from([b"1", b"22", b"3" * 5000]), st.sampled_from([0, 2, 4096]),
        st.sampled_from([os.O_WRONLY] * 4 + [os.O_WRONLY | os.O_SYNC, os.O_WRONLY | os.O_DSYNC]),
    ),
    st.builds(truncate, NAMES, st.sampled_from([0, 1, 5000])),
    st.builds(rename, NAMES, NAMES),
    st.builds(op, st.just("link"), NAMES, NAMES),
    st.builds(op, st.just("unlink"), NAMES),
    st.builds(op, st.sampled_from(["fsync", "fsync", "fdatasync"]), NAMES | st.sampled_from(["", "d"])),
    st.builds(lambda path, mode: op("chmod", path, mode=mode), NAMES, st.sampled_from([0o600, 0o640])),
    st.just(op("sync")),
)  # fmt: skip

#: Each with those that admit all that it may leave.
WEAKER = {
    "strict": [], "posix": ["strict"], "btrfs": [], "xfs": ["posix", "strict"], "ext4": ["posix", "strict"],
    "ext4-ordered": ["ext4", "posix", "strict"],
}  # fmt: skip


@pytest.fixture(scope="module")
def before(tmp_path_factory):
    """What random programs start from."""
    top = tmp_path_factory.mktemp("before")
    (top / "d").mkdir()
    (top / "old").write_bytes(b"old")
    (top / "d" / "in").write_bytes(b"in")
    return top


@settings(
    max_examples=60, derandomize=True, deadline=None, database=None,
    suppress_health_check=[HealthCheck.too_slow],
)  # fmt: skip
@given(ops=st.lists(OPS, min_size=2, max_size=9))
def test_states_are_admitted_by_their_own_disk_and_by_those_that_promise_less(before, ops):
    """What a profile yields it admits, even of digests alone; and so does each that promises less."""
    model = PowerModel(before, ops)
    at = len(ops)
    for profile in PROFILES:
        for number, state in enumerate(model.under(profile).states(at, budget=12)):
            where = profile, state.lost
            for other in (profile, *WEAKER[profile]):
                assert model.under(other).admits(state, at), (where, other)
            if number % 4 == 0:
                assert model.under(profile).admits(state.tree(), at), where
            strongest, _ = model.under(profile).strongest(state)
            assert model.under(strongest).admits(state, at)
            assert ALL.index(strongest) >= ALL.index(profile), (where, strongest)


@pytest.mark.parametrize("profile", ALL)
def test_files_that_nobody_wrote_are_not_admitted(start, profile, tmp_path):
    """A byte, name, mode or size that never existed is in no state of any disk."""
    model = PowerModel(start, [write("old", b"NEW"), make("a"), op("unlink", "d/in")], profile)
    where = tmp_path / "found"
    where.mkdir()
    model.state(3).write_to(where)
    assert model.admits(where, 3)
    for data in (b"NEW!", b"NEX", b"NE", b"oEW"):
        (where / "old").write_bytes(data)
        assert not model.admits(where, 3)
    (where / "old").write_bytes(b"NEW")
    (where / "stranger").write_bytes(b"")
    assert not model.admits(where, 3)
    (where / "stranger").unlink()
    (where / "old").chmod(0o111)
    assert not model.admits(where, 3)
    (where / "old").chmod(0o644)
    assert model.admits(where, 3)
    (where / "old").unlink()
    assert not model.admits(where, 3)


def test_what_is_durable_must_be_there(start):
    """A state that is legal before the fsync has returned is none after it."""
    model = PowerModel(start, [write("old", b"NEW"), fsync("old")])
    gone = model.state(1, ["1"])
    assert model.admits(gone, 1)
    assert model.admits(gone, 2, returned=False)
    assert not model.admits(gone, 2)


def test_too_many_contents_of_a_digest_are_undecided(start):
    """Thirteen blocks in three versions each are not all tried where only a digest is known."""
    ops = [write("old", bytes([number]) * 4096 * 13) for number in (1, 2)]
    model = PowerModel(start, ops)
    state = model.state(2)
    found = state.tree()
    assert model.admits(state, 2)
    found["old"] = found["old"]._replace(digest="0" * 32)
    with pytest.raises(UndecidedError):
        model.admits(found, 2)


def test_a_state_is_labelled_with_the_strongest_disk_that_leaves_it(start):
    """The label follows from the files, whichever profile they were found under."""
    ops = [*UNSYNCED, rename("t", "old"), make("d/marker")]
    model = PowerModel(start, ops, "strict")
    assert model.strongest(model.state(4))[0] == "ext4-ordered"
    assert model.strongest(model.state(4, ["3", "4"]))[0] == "ext4-ordered"
    assert model.strongest(model.state(4, ["2.2", "2.4"]))[0] == "ext4"  # size, no data, under the old name
    assert model.strongest(model.state(4, ["2"]))[0] == "xfs"  # nothing under the old name
    assert model.strongest(model.state(4, ["3"]))[0] == "posix"  # a later name, and not the rename
    assert model.strongest(model.state(4, ["2.2", "2.3", "2.4"]))[0] == "posix"  # torn within a block
    assert model.strongest(model.state(4, ["3.1"]))[0] == "strict"  # both names
    assert model.strongest(model.state(4, ["3.2"]))[0] == "posix"  # as if "t" had never been made


def test_a_state_that_a_later_op_may_leave_too_is_labelled_by_that(start):
    """A journal leaves no name without the one before it, until that one is removed."""
    ops = [make("a"), make("b"), write("b", b"b" * 5000), op("unlink", "a"), rename("b", "c")]
    model = PowerModel(start, ops)
    state = model.state(3, ["1", "3"])
    labels = [model.strongest(state, until)[0] for until in (None, 3, 4, 5)]
    assert labels == ["posix", "posix", "ext4-ordered", "ext4-ordered"]
    assert contents(state)["b"] == b""


def test_profiles_are_found_by_name_and_ranked():
    """The last of the table promises most."""
    assert [profile.name for profile in strongest_first()] == ALL[::-1]
    assert profile_named("ext4") is profile_named(PROFILES["ext4"])
    with pytest.raises(ValueError, match="no persistence profile 'fat'"):
        profile_named("fat")
