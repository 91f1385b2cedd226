"""A box that is copied for a while: what runs meanwhile changes the copy, and nothing else."""

import os

import pytest

from outlive_harness.world.box import Box


@pytest.fixture
def box(tmp_path):
    """A box with a file, a link to it and an unreadable directory, all at one path."""
    box = Box(tmp_path / "w000")
    box.path.mkdir()
    (box.path / "a").write_text("x")
    (box.path / "b").symlink_to(box.path / "a")
    (box.path / "deep").mkdir(mode=0o000)
    os.utime(box.path / "a", (1, 1))
    return box


def test_the_files_are_the_same_ones_afterwards(box):
    """Not only equal: their inodes, and so all that a recovery could tell them by."""
    before = {name: os.lstat(box.path / name) for name in ("", "a", "b", "deep")}
    with box.copied():
        assert (box.path / "b").read_text() == "x"
        assert (box.path / "a").stat().st_mtime == 1
        assert (box.path / "a").stat().st_ino != before["a"].st_ino
        (box.path / "a").write_text("changed")
        (box.path / "b").unlink()
        (box.path / "c").touch()
    assert sorted(path.name for path in box.path.iterdir()) == ["a", "b", "deep"]
    for name, info in before.items():
        assert os.path.samestat(os.lstat(box.path / name), info)
    assert ((box.path / "a").read_text(), (box.path / "a").stat().st_mtime) == ("x", 1)


def test_they_are_there_again_after_an_error_too(box):
    """Whatever the body did, and even if an earlier copy was never taken back."""
    (box.place / "original").mkdir()
    with pytest.raises(FileNotFoundError), box.copied():
        (box.path / "a").rename(box.path / "none" / "a")
    assert (box.path / "a").read_text() == "x"
    assert not (box.place / "original").exists()
