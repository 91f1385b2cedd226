"""atomic_path: what a library left at a path takes its place whole."""

# What raises is the body, of several lines; names are compared as text.
# ruff: noqa: PT012, PTH208

import os
import shutil
import sqlite3
import stat
from pathlib import Path

import pytest

from outlive import atomic_path


@pytest.mark.parametrize("old", [None, "old"])
@pytest.mark.parametrize("how", ["write", "rename", "link", "append"])
def test_however_the_file_gets_there(tmp_path, how, old):
    """Written, renamed over or linked: what is at the path in the end is published, and nothing is left."""
    target = tmp_path / "table.parquet"
    if old:
        target.write_text(old)
    with atomic_path(target) as path:
        assert path.name == target.name
        assert not path.exists()
        if how == "rename":
            path.write_text("half")
        if how in ("rename", "link"):
            part = path.with_name("part")
            part.write_text("new")
            if how == "rename":
                part.replace(path)
            else:
                path.hardlink_to(part)
                part.unlink()
        else:
            path.write_text("n")
            with path.open("a") as file:
                file.write("ew")
        assert (target.read_text() if target.exists() else None) == old
    assert target.read_text() == "new"
    assert os.listdir(tmp_path) == ["table.parquet"]


def test_file_that_keeps_another_name(tmp_path):
    """What the body links to a file of its own is published, and that file's mode stays as it was."""
    (tmp_path / "cache").write_text("new")
    (tmp_path / "cache").chmod(0o644)
    (tmp_path / "out").write_text("old")
    (tmp_path / "out").chmod(0o600)
    with atomic_path(tmp_path / "out") as path:
        path.hardlink_to(tmp_path / "cache")
    assert (tmp_path / "out").read_text() == "new"
    assert stat.S_IMODE((tmp_path / "cache").stat().st_mode) == 0o644


@pytest.mark.parametrize("moment", ["in the body", "while it is fsynced"])
def test_another_writers_directory_under_the_name(monkeypatch, tmp_path, moment):
    """Where somebody removed its directory, what another writer has there by now is not published."""
    (tmp_path / "out").write_text("old")
    fsync, given = os.fsync, []

    def meanwhile(*descriptors):
        (path,) = given
        shutil.rmtree(path.parent)
        path.parent.mkdir()
        path.write_text("half of ano")
        for descriptor in descriptors:
            fsync(descriptor)

    with (
        pytest.raises(FileNotFoundError, match="out' was not written: another program removed its temporary"),
        atomic_path(tmp_path / "out") as path,
    ):
        given.append(path)
        path.write_text("new")
        if moment == "in the body":
            meanwhile()
        else:
            monkeypatch.setattr(os, "fsync", meanwhile)
    assert (tmp_path / "out").read_text() == "old"
    assert path.read_text() == "half of ano"


def test_suffixes_are_kept(tmp_path):
    """The path ends as the destination does, whatever dots are in it, and however long it is."""
    for name in ("a.tar.gz", ".hidden", "no-suffix", "x" * 247 + ".parquet"):
        with atomic_path(tmp_path / name) as path:
            assert path.name == name
            path.touch()
    assert len(os.listdir(tmp_path)) == 4


def test_private_until_it_is_published(tmp_path):
    """Nobody but its owner reaches the file before it is finished, whatever mode the library gives it."""
    before = os.umask(0)
    try:
        with atomic_path(tmp_path / "out") as path:
            path.write_text("new")
            assert stat.S_IMODE(path.stat().st_mode) == 0o666
            assert stat.S_IMODE(path.parent.stat().st_mode) == 0o700
    finally:
        os.umask(before)
    assert stat.S_IMODE((tmp_path / "out").stat().st_mode) == 0o666


def test_replaced_file_keeps_its_mode(tmp_path):
    """A file that replaces another has its mode, whatever mode the library gave it."""
    (tmp_path / "out").touch()
    (tmp_path / "out").chmod(0o604)
    with atomic_path(tmp_path / "out") as path:
        path.touch(mode=0o600)
    assert stat.S_IMODE((tmp_path / "out").stat().st_mode) == 0o604


def test_database(tmp_path):
    """A library that makes files of its own beside the path finds room for them."""
    with atomic_path(tmp_path / "data.sqlite") as path:
        database = sqlite3.connect(path)
        database.execute("PRAGMA journal_mode=WAL")
        database.execute("CREATE TABLE t (x)")
        database.execute("INSERT INTO t VALUES (1)")
        database.commit()
        assert len(os.listdir(path.parent)) == 3
        database.close()
    database = sqlite3.connect(tmp_path / "data.sqlite")
    assert database.execute("SELECT x FROM t").fetchall() == [(1,)]
    database.close()


def test_other_files_are_refused(tmp_path):
    """A body that leaves files beside the path, as a database that is open does, publishes nothing."""
    with (
        pytest.raises(ValueError, match=r"left more than the file: \"'out-wal'\""),
        atomic_path(tmp_path / "out") as path,
    ):
        path.touch()
        path.with_name("out-wal").touch()
    assert os.listdir(tmp_path) == []


@pytest.mark.parametrize("left", ["nothing", "directory", "link", "pipe"])
def test_body_that_leaves_no_file(tmp_path, left):
    """What is not a file is not published: the old one stays, and nothing else."""
    (tmp_path / "out").write_text("old")
    kind = FileNotFoundError if left == "nothing" else OSError
    with (
        pytest.raises(kind, match=r"was not written: (what )?the body left") as caught,
        atomic_path(tmp_path / "out") as path,
    ):
        if left == "directory":
            path.mkdir()
            (path / "file").touch()
        elif left == "link":
            path.symlink_to(tmp_path / "out")
        elif left == "pipe":
            os.mkfifo(path)
    assert len(caught.value.__notes__) == 1
    assert (tmp_path / "out").read_text() == "old"
    assert os.listdir(tmp_path) == ["out"]


@pytest.mark.parametrize("durable", ["full", "file", "none"])
def test_order_of_system_calls(monkeypatch, tmp_path, durable):
    """The file is on the disk before it has its name, and the temporary is gone before the last fsync."""
    seen = []
    fsync, replace = os.fsync, os.replace

    def record_fsync(descriptor):
        seen.append("fsync " + ("directory" if stat.S_ISDIR(os.fstat(descriptor).st_mode) else "file"))
        if seen[-1] == "fsync directory":
            assert os.listdir(tmp_path) == ["out"]
        fsync(descriptor)

    def record_replace(source, target):
        seen.append("rename")
        replace(source, target)

    monkeypatch.setattr(os, "fsync", record_fsync)
    monkeypatch.setattr(os, "replace", record_replace)
    with atomic_path(tmp_path / "out", durable=durable) as path:
        path.write_text("new")
    full = ["fsync file", "rename", "fsync directory"]
    assert seen == {"full": full, "file": full[:2], "none": ["rename"]}[durable]


@pytest.mark.parametrize("ending", [ValueError, KeyboardInterrupt, SystemExit])
def test_exception_in_the_body(tmp_path, ending):
    """Whatever ends the body early, the destination is as it was, and nothing else is left."""
    (tmp_path / "out").write_text("old")
    with pytest.raises(ending) as caught, atomic_path(tmp_path / "out") as path:
        path.write_text("new")
        path.with_name("other").write_text("new")
        raise ending
    assert caught.value.__notes__ == [f"destination={str(tmp_path / 'out')!r} was not written"]
    assert (tmp_path / "out").read_text() == "old"
    assert os.listdir(tmp_path) == ["out"]


def test_links_chdir_and_overwrite(monkeypatch, tmp_path):
    """A link is followed, a chdir redirects nothing, and what may not be replaced is not."""
    (tmp_path / "real").mkdir()
    (tmp_path / "link").symlink_to("real/out")
    monkeypatch.chdir(tmp_path)
    with atomic_path("link") as path:
        assert path.parent.parent == tmp_path / "real"
        path.write_text("new")
        os.chdir("/")
    assert (tmp_path / "link").is_symlink()
    assert (tmp_path / "real" / "out").read_text() == "new"
    with pytest.raises(FileExistsError), atomic_path(tmp_path / "x", overwrite=False) as path:
        path.write_text("new")
        (tmp_path / "x").write_text("another's")
    assert (tmp_path / "x").read_text() == "another's"
    assert sorted(os.listdir(tmp_path)) == ["link", "real", "x"]


def test_gives_a_path(tmp_path):
    """What the body gets is a pathlib.Path, absolute."""
    with atomic_path(tmp_path / "out") as path:
        assert isinstance(path, Path)
        assert path.is_absolute()
        path.touch()
