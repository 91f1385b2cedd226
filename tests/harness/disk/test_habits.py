"""What disks were seen to keep beyond their promises: what needs a breach of it is admitted, and says so."""

import os
from itertools import pairwise

import pytest
from _ops import make, op, write

from outlive_harness.disk.power import PowerModel
from outlive_harness.intercept.rewritten import Rewritten
from outlive_harness.report.text import explain
from outlive_harness.results.ops import Detail, Seen

CUT = "a write of up to 64 KiB that is cut at a page"
LOST = "data that is lost though sync_file_range waited for it"
EMPTY = "a file that is empty though it was written anew and closed"
BTRFS = "the model of btrfs, which admits more than a btrfs was seen to leave"
FILE = Seen(1, 7, 0o100644, 1, 3)


def shown(model, lost, least="strict"):
    """Return who leaves what lacks some of the ops, and the beginning of what that rests on."""
    name, why = model.strongest(model.state(len(model.history.ops), lost), least=least)
    return name, [one[: len(CUT)] for one in why.split("; and ") if one]


@pytest.fixture
def start(tmp_path):
    """A directory that is on the disk before the first op."""
    (tmp_path / "start").mkdir()
    (tmp_path / "start/old").write_bytes(b"old")
    return tmp_path / "start"


# -- a write that is cut -----------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("size", "lost", "rests"),
    [
        (12288, ["2"], []),  # nothing of it
        (12288, ["2.2", "2.4", "2.6"], []),  # its size, and zeros
        (12288, ["2.5", "2.6"], [CUT]),  # two pages of three
        (12288, ["2.2"], [CUT]),  # zeros in the first
        (1 << 16, ["2.31", "2.32"], [CUT]),
        ((1 << 16) + 4096, ["2.33", "2.34"], []),  # more than one piece may well be
    ],
)
def test_a_write_that_is_cut_at_a_page_says_so(start, size, lost, rests):
    """Up to 64 KiB of it reached the disk as one, wherever it was looked for."""
    name, found = shown(PowerModel(start, [make("t"), write("t", b"x" * size)]), lost)
    assert found == rests
    assert name.startswith("ext4")


def test_pages_that_were_on_the_disk_before_are_written_one_by_one(start):
    """Any pages of an overwrite may persist: no disk promises that they persist together."""
    (start / "old").write_bytes(b"o" * 12288)
    assert shown(PowerModel(start, [write("old", b"x" * 12288)]), ["1.2"]) == ("ext4-ordered", [])


# -- what was waited for -----------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("how", "start_at", "rests"), [(7, 0, [LOST]), (6, 0, [LOST]), (2, 0, []), (7, 8192, [])]
)
def test_data_that_was_waited_for_and_is_lost_says_so(start, how, start_at, rests):
    """Unless the call only began to write it, or was about another part."""
    detail = Detail(FILE._replace(ino=9, size=8192), how=how)
    pushed = op("sync_file_range", "t", offset=start_at, detail=detail)
    ops = [make("t"), write("t", b"x" * 8192), pushed, op("rename", "t", "new")]
    assert shown(PowerModel(start, ops), ["2.2", "2.4"]) == ("ext4", [one[: len(CUT)] for one in rests])
    assert shown(PowerModel(start, ops), ["2"])[1] == [one[: len(CUT)] for one in rests]


# -- what was written anew and closed ----------------------------------------------------------------


def rewriting(closed):
    """Return the ops of a file that is written anew, and of a marker, before which it is closed or not."""
    identity = (FILE.dev, FILE.ino)
    return [
        make("old", os.O_TRUNC, Detail(FILE)),
        write("old", b"new"),
        make("mark", detail=Detail(closed=(identity,) if closed else ())),
    ]


def test_an_empty_file_that_was_closed_says_so_where_ext4_alone_is_asked(start):
    """Xfs leaves it by itself, seen on a slow disk; ext4 only if another process closed it meanwhile."""
    model = PowerModel(start, rewriting(closed=True))
    assert shown(model, ["2"]) == ("xfs", [])
    assert shown(model, ["2"], least="ext4") == ("ext4", [EMPTY[: len(CUT)]])
    still_open = PowerModel(start, rewriting(closed=False))
    assert shown(still_open, ["2"]) == ("ext4-ordered", [])


@pytest.mark.parametrize("closed", [True, False])
def test_ext4_ordered_keeps_what_was_closed(start, closed):
    """As its documentation says of replace-via-truncate: before what is committed after the close."""
    model = PowerModel(start, rewriting(closed), "ext4-ordered")
    with_mark = {state.read("old") for state in model.states(3) if "mark" in state.tree()}
    assert with_mark == ({b"new"} if closed else {b"new", b""})


@pytest.mark.parametrize("filled", [["truncate"], ["fallocate"], []])
@pytest.mark.parametrize("profile", ["ext4", "ext4-ordered"])
def test_what_is_renamed_over_a_name_is_written_back_however_it_grew(start, filled, profile):
    """Extended by ftruncate or by the write itself; not so where its blocks were there before."""
    grows = [op(kind, "t", length=8192, flags=int(kind == "fallocate")) for kind in filled]
    ops = [make("t"), *grows, write("t", b"x" * 8192), op("rename", "t", "old")]
    states = [state.read("old") for state in PowerModel(start, ops, profile).states(len(ops))]
    found = {(len(data), data.strip(b"\0")[:1]) for data in states}
    allowed = {(3, b"o"), (8192, b"x")}
    if profile == "ext4":
        allowed |= {(8192, b"")}
    if filled == ["fallocate"]:
        allowed |= {(0, b""), (4096, b"x")} | ({(4096, b"")} if profile == "ext4" else set())
    assert found == allowed


# -- who else leaves it ------------------------------------------------------------------------------


def test_what_only_the_model_of_btrfs_leaves_says_so(start):
    """It is permissive: a log holds more than the model follows."""
    ops = [
        make("t"),
        write("t", b"new"),
        op("fsync", "t"),
        op("fsync", ""),
        make("a"),
        op("rename", "t", "u"),
    ]
    model = PowerModel(start, [*ops, op("fsync", "u")], "btrfs")
    several = [model.strongest(state) for state in model.states(len(ops) + 1)]
    assert {why for name, why in several if name == "btrfs"} == {BTRFS}
    assert {why for name, why in several if name != "btrfs"} <= {""}


# -- when files are closed ---------------------------------------------------------------------------


def test_a_file_is_closed_when_nobody_writes_to_it_any_more(tmp_path):
    """Told once, at the next op; not where another opens it meanwhile, or where it has gone elsewhere."""
    path = tmp_path / "f"
    path.write_bytes(b"old")

    def seen():
        info = path.stat()
        return Detail(Seen(info.st_dev, info.st_ino, info.st_mode, info.st_nlink, info.st_size))

    def before(flags=None):
        number = make("f", flags, seen()) if flags is not None else op("fsync", "other", detail=Detail())
        return bool(files.closed_before(number))

    files = Rewritten(os.fsencode(tmp_path))
    told = [before(os.O_TRUNC)]
    with path.open("wb") as file:
        told.append(before())
        file.write(b"new")
    assert [*told, before(), before()] == [False, False, True, False]
    before(os.O_TRUNC)
    with path.open("wb"):
        before(0)  # another process opens it
    assert not before()
    path.write_bytes(b"old")
    with path.open("r+b"):  # it is open already
        before(os.O_TRUNC)
    assert not before()
    before(os.O_TRUNC)
    path.rename(tmp_path / "g")
    assert not before()


# -- the whole way -----------------------------------------------------------------------------------

FUSSY = """
@scenario(outputs="done", faults="power")
def fussy():
    size = os.stat("out").st_size if os.path.exists("out") else 0
    if size not in (0, 12288):
        sys.exit(f"{size} bytes")
    with open("out", "wb", buffering=0) as out:
        out.write(b"x" * 12288)
    put("done", "")
"""


def test_a_violation_that_rests_on_a_breach_alone_says_so(one):
    """A reader that accepts all but part of one write; if an empty file fails too, that is reported."""
    result = one(FUSSY, profile="ext4")
    found = {violation.kind: violation for violation in result.violations}
    assert found["recovery-failed"].rests_on.startswith(CUT)
    assert f"  rests on: {found['recovery-failed'].rests_on}" in explain(found["recovery-failed"])
    fussier = one(FUSSY.replace("else 0", "else 12288").replace("(0, 12288)", "(12288,)"), profile="ext4")
    assert {one.rests_on for one in fussier.violations if one.kind == "recovery-failed"} == {""}


REWRITES = """
@scenario(outputs="out", faults="power", setup=lambda: put("out", "old"))
def rewrites():
    if Path("mark").exists():
        return
    out = open("out", "w")
    out.write("new")
    CLOSE
    with open("mark", "w") as mark:
        mark.write("done")
        mark.flush()
        os.fsync(mark.fileno())
"""


@pytest.mark.parametrize(("close", "profile", "is_kept"), [
    ("out.close()", "ext4-ordered", True),
    ("out.flush()", "ext4-ordered", False),
    ("out.close(); open('out').close()", "ext4-ordered", True),
    ("out.close()", "ext4", False),
])  # fmt: skip
def test_a_recording_knows_what_was_closed(one, close, profile, is_kept):
    """What ext4 mounted with dioread_lock writes back at a close is on the disk with a later marker."""
    result = one(REWRITES.replace("CLOSE", close), profile=profile, explain="none")
    assert ("diverged" not in {violation.kind for violation in result.violations}) == is_kept


def test_the_order_of_profiles_is_that_of_what_they_promise():
    """Profiles are tried from the strongest on: the first that admits a state is reported."""
    from outlive_harness.disk.profiles import PROFILES

    names = list(PROFILES)
    assert [one for one, two in pairwise(names) if one == two] == []
    assert [name for name in names if PROFILES[name].habits] == ["xfs", "ext4", "ext4-ordered"]
