"""Access control lists: one of owner, group and others alone is a mode; a larger one is not understood."""

import shutil
import struct

import pytest

from outlive_harness.disk.model import Disk, UnmodelledError
from outlive_harness.disk.power import PowerModel
from outlive_harness.results.ops import Detail, Op, Seen
from outlive_harness.results.verdicts import Verdict

OWNER, USER, GROUP, MASK, OTHER = 0x01, 0x02, 0x04, 0x10, 0x20
LIST = "system.posix_acl_access"
SETS = """
import os, sys
os.close(os.open("f", os.O_CREAT | os.O_WRONLY, 0o644))
os.chmod("f", 0o1644)
os.symlink("f", "link")
value = bytes.fromhex(sys.argv[1])
fd = os.open("f", os.O_RDONLY)
for where in ("f", "link", fd):
    try:
        os.setxattr(where, "system.posix_acl_access", value)
    except OSError as error:
        print(error.errno)
"""


def access_list(*entries):
    """Return a list as setxattr(2) takes it: (tag, bits) or (tag, bits, id)."""
    several = (struct.pack("<HHI", *entry, *([0xFFFFFFFF] if len(entry) == 2 else [])) for entry in entries)
    return struct.pack("<I", 2) + b"".join(several)


MINIMAL = access_list((OWNER, 6), (GROUP, 4), (OTHER, 0))


def seen_of(observe, value, **wish):
    """Return what is seen of a program that sets a list by path, through a link and through a descriptor."""
    seen = observe("python3", "-c", SETS, value.hex(), **wish)
    seen.ops = seen.ops[3:]
    return seen


@pytest.mark.parametrize("data", [True, False])
def test_a_list_of_three_entries_is_a_chmod(observe, box, data):
    """By path, link and descriptor; bits that no list holds stay, as the kernel keeps them."""
    seen = seen_of(observe, MINIMAL, data=data)
    assert [(op["kind"], op["path"], op["mode"]) for op in seen.ops] == [("chmod", "f", 0o1640)] * 3
    assert [op["syscall"] for op in seen.ops] == ["setxattr", "setxattr", "fsetxattr"]
    refused = seen.stdout  # by a file system without such lists
    assert refused or (box / "f").stat().st_mode & 0o7777 == 0o1640


@pytest.mark.parametrize(
    "value",
    [
        access_list((OWNER, 6), (USER, 4, 1), (GROUP, 4), (MASK, 4), (OTHER, 0)),
        access_list((OWNER, 6), (GROUP, 4), (MASK, 4), (OTHER, 0)),
        access_list((GROUP, 4), (OWNER, 6), (OTHER, 0)),
        access_list((OWNER, 8), (GROUP, 4), (OTHER, 0)),
        b"\1" + MINIMAL[1:],
        MINIMAL[:4],
        b"",
    ],
)
def test_what_is_more_or_less_than_a_mode_is_none(observe, value):
    """Lists with more entries, that the kernel refuses, and without any, are told as what they are."""
    assert {op["kind"] for op in seen_of(observe, value, data=True).ops} == {"setxattr"}


def op_on(kind, **more):
    """Return an op on the file f, which is there."""
    detail = Detail(Seen(1, 1, 0o100644, 1, 0), name=LIST)
    return Op(kind, "setxattr", "f", detail=detail, **more)


@pytest.fixture
def start(tmp_path):
    """A directory with one file."""
    (tmp_path / "f").touch(0o644)
    return Disk.load(tmp_path)


def test_a_mode_that_a_list_set_may_be_lost_like_any(start):
    """Unless it is fsynced; and what was there before is gone with it."""
    start.files.nodes[start.files.walk("f")].attributes[f"xattr:{LIST}"] = b"more"
    model = PowerModel(start, [op_on("chmod", mode=0o600)])
    assert {state.tree()["f"].mode for state in model.states(1)} == {0o644, 0o600}
    model.view.move(len(model.history.micros))
    assert f"xattr:{LIST}" not in model.view.nodes[model.history.files.walk("f")].attributes


@pytest.mark.parametrize("value", [b"", MINIMAL[:4]])
def test_a_list_without_entries_changes_no_mode(start, value):
    """It removes the one that is there, as removexattr(2) does."""
    start.apply(op_on("setxattr", data=value))
    assert start.tree()["f"].mode == 0o644


def test_a_larger_list_is_not_understood(start):
    """What it makes of the mode depends on who asks: a power cut cannot be told."""
    value = access_list((OWNER, 6), (USER, 4, 1), (GROUP, 4), (MASK, 4), (OTHER, 0))
    with pytest.raises(UnmodelledError, match="access control lists change modes"):
        start.apply(op_on("setxattr", data=value))


COPIES = ["cp -p source out", "cp -a source out", "install -m 644 source out", "sed -i s/1/2/ source"]


@pytest.mark.parametrize("command", [one for one in COPIES if shutil.which(one.split()[0])])
def test_everyday_copies_have_a_verdict_under_power(one, command):
    """The first three write in place, which is torn; sed renames what it has not fsynced."""
    source = f"""
def given():
    Path("source").write_text("1\\n" * 100)
    Path("source").chmod(0o600)

it = scenario(command={command.split()!r}, setup=given, outputs=["out", "source"], faults="power")
"""
    result = one(source.replace('"out", ', "") if "sed" in command else source)
    assert result.verdict is Verdict.VIOLATED, result
    assert "torn-output" in {found.kind for found in result.violations}
