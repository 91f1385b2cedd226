"""Trees: read from the disk, copied, removed, and named by one digest."""

import os
import stat
import sys

import pytest

from outlive_harness.disk.copying import copy_tree
from outlive_harness.disk.removal import remove_tree
from outlive_harness.disk.tree import digest_bytes, scan, tree_digest
from outlive_harness.intercept.versions import has_writer


@pytest.fixture
def odd(tmp_path):
    """A tree with one of everything: odd names, modes, links, a FIFO."""
    root = tmp_path / "odd"
    (root / "dir").mkdir(parents=True)
    (root / "dir" / "file").write_bytes(b"x" * 5000)
    os.link(root / "dir" / "file", root / "hard")
    (root / "soft").symlink_to("dir/file")
    (root / "dangling").symlink_to("nowhere")
    os.mkfifo(root / "fifo", 0o600)
    (root / "new\nline").write_text("")
    (root / os.fsdecode(b"\xff\xfe")).write_text("not UTF-8")
    (root / "closed").write_text("secret")
    (root / "closed").chmod(0o000)
    (root / "shut").mkdir()
    (root / "shut" / "in").write_text("y")
    (root / "shut").chmod(0o500)
    (root / "shut" / "in").chmod(0o755)
    return root


def test_a_copy_is_the_same_tree(odd, tmp_path):
    """Copying keeps names, types, modes, contents, targets and hard links."""
    copy = tmp_path / "copy"
    copy.mkdir()
    copy_tree(odd, copy)
    assert scan(copy) == scan(odd)
    assert (copy / "hard").samefile(copy / "dir" / "file")
    assert stat.S_IMODE((odd / "closed").stat().st_mode) == 0


@pytest.mark.skipif(os.geteuid() != 0, reason="only root may")
def test_a_copy_has_the_owners_and_devices(odd, tmp_path):
    """What was given to another user still is, but in a copy of the user's own directory; whiteouts stay."""
    os.mknod(odd / "whiteout", stat.S_IFCHR | 0o640, os.makedev(0, 0))
    os.mknod(odd / "null", stat.S_IFCHR | 0o666, os.makedev(1, 3))
    for path in (odd / "dir", odd / "dir" / "file", odd / "dangling", odd / "fifo", odd / "null"):
        os.chown(path, 65534, 65533, follow_symlinks=False)
    (odd / "dir" / "file").chmod(0o4755)
    copy, users = tmp_path / "copy", tmp_path / "users"
    for where in (copy, users):
        where.mkdir()
        copy_tree(odd, where, opens=where == copy)
        assert scan(where) == scan(odd)
    for path in odd.rglob("*"):
        there, here = path.lstat(), (copy / path.relative_to(odd)).lstat()
        assert (there.st_uid, there.st_gid, there.st_rdev) == (here.st_uid, here.st_gid, here.st_rdev)
        assert (users / path.relative_to(odd)).lstat().st_uid == 0


def test_removal_takes_everything_whatever_its_mode(odd):
    """Boxes with unreadable directories and files are removed too; removing an absent one does nothing."""
    remove_tree(odd)
    assert not odd.exists()
    remove_tree(odd)


def test_removal_changes_nothing_above_or_beside_the_tree(odd, tmp_path):
    """A tree in which a process still writes stays; its parent keeps its mode, and so does a linked file."""
    beside = tmp_path / "beside"
    beside.touch(0o640)
    os.link(beside, odd / "linked")
    (odd / "dir" / "led").symlink_to(tmp_path)
    tmp_path.chmod(0o1777)
    child = os.fork()
    if not child:

        def write(event, arguments):
            if event == "os.rmdir" and os.fspath(arguments[0]).endswith(odd.name):
                (odd / "late").touch()

        sys.addaudithook(write)
        try:
            remove_tree(odd)
        except OSError:
            os._exit(0)
        os._exit(1)
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0
    assert [path.name for path in odd.iterdir()] == ["late"]
    assert stat.S_IMODE(tmp_path.stat().st_mode) == 0o1777
    assert stat.S_IMODE(beside.stat().st_mode) == 0o640


def test_a_tree_of_any_depth_is_removed(tmp_path):
    """Neither descriptors nor the depth of calls bound it, with files and closed directories all along."""
    root = tmp_path / "deep"
    root.mkdir()
    here = os.open(root, os.O_RDONLY)
    for number in range(2500):
        os.mkdir("d", dir_fd=here)
        os.close(os.open("f", os.O_CREAT | os.O_WRONLY, dir_fd=here))
        lower = os.open("d", os.O_RDONLY, dir_fd=here)
        if number % 100 == 99:
            os.fchmod(here, 0o500)
        os.close(here)
        here = lower
    os.close(here)
    remove_tree(root)
    assert list(tmp_path.iterdir()) == []


def test_no_link_to_a_tree_is_followed(odd, tmp_path):
    """A link in place of the tree to remove is an error."""
    link = tmp_path / "link"
    link.symlink_to(odd)
    before = scan(odd)
    with pytest.raises(OSError, match="link"):
        remove_tree(link)
    assert link.is_symlink()
    assert scan(odd) == before


def test_a_digest_tells_trees_apart(odd):
    """Content, mode, type, target and name each change a tree's digest."""
    before = tree_digest(scan(odd))
    assert tree_digest(scan(odd)) == before
    changes = [
        lambda: (odd / "dir" / "file").write_bytes(b"y" * 5000),
        lambda: (odd / "dir").chmod(0o700),
        (odd / "soft").unlink,
        lambda: (odd / "soft").symlink_to("elsewhere"),
        lambda: (odd / "soft").rename(odd / "softer"),
        (odd / "fifo").unlink,
        lambda: ((odd / "hard").unlink(), (odd / "hard").write_bytes(b"y" * 5000)),
    ]
    digests = {before}
    for change in changes:
        change()
        digests.add(tree_digest(scan(odd)))
    assert len(digests) == len(changes) + 1


def test_names_that_are_folded_alike_make_one_state(tmp_path):
    """Random names do not make a state a new one; two such files are still told from one."""
    (tmp_path / "a1").write_text("x")
    one = tree_digest(scan(tmp_path), lambda _: "a*")
    (tmp_path / "a1").rename(tmp_path / "a2")
    assert tree_digest(scan(tmp_path), lambda _: "a*") == one
    (tmp_path / "a3").write_text("x")
    assert tree_digest(scan(tmp_path), lambda _: "a*") != one


def test_the_path_of_the_box_does_not_count():
    """Outputs that name their own box are equal in boxes of different paths."""
    assert digest_bytes(b"at /b/w001/box/x", b"/b/w001/box") == digest_bytes(
        b"at /b/w002/box/x", b"/b/w002/box"
    )
    assert digest_bytes(b"at /b/w1/box/x") != digest_bytes(b"at /b/w2/box/x")


def test_the_kernel_tells_whether_a_file_is_being_written(tmp_path):
    """A lease is refused while a writer has the file open, and granted after its close."""
    path = tmp_path / "f"
    with path.open("w"):
        assert has_writer(str(path))
    assert not has_writer(str(path))
    with path.open():
        assert not has_writer(str(path))
    assert not has_writer(str(tmp_path / "absent"))


@pytest.mark.parametrize("name", ["file", "directory"])
def test_what_the_user_closed_stays_closed(tmp_path, monkeypatch, name):
    """A copy or a scan of the user's own directory changes no mode, not even for a moment."""
    (tmp_path / "from" / "directory").mkdir(parents=True)
    (tmp_path / "from" / "file").touch()
    (tmp_path / "to").mkdir()
    closed = tmp_path / "from" / name
    monkeypatch.setattr(os, "access", lambda path, _mode: path != str(closed))  # root may read all
    before = closed.stat().st_ctime_ns
    copy_tree(tmp_path / "from", tmp_path / "to", opens=False)
    assert set(scan(tmp_path / "from", opens=False)) == {"directory", "file"}
    assert closed.stat().st_ctime_ns == before
    copy_tree(tmp_path / "from" / "directory", tmp_path / "to" / "directory")
    scan(tmp_path / "from")
    assert closed.stat().st_ctime_ns > before  # one of our own is opened
