"""The directory of a session: what a killed one leaves is removed, and nothing that is not ours."""

import contextlib
import fcntl
import itertools
import os
import shutil
import signal
import subprocess
import sys

import pytest

from outlive_harness.disk.mounts import below
from outlive_harness.jobs.own_directory import WORKERS, OwnDirectory, remove_stale
from outlive_harness.jobs.session import Session

LIKE_OURS = "outlive-0123456789abcdef"
#: What a process asks the kernel for while it makes and removes such a directory (sys.audit).
STEPS = ("os.mkdir", "open", "os.remove", "os.rmdir", "fcntl.flock", "os.scandir", "os.listdir")


def left_by_a_killed_session(where):
    """Return a directory that a session of another process left: it was killed, with files in it."""
    before = set(where.iterdir())
    child = os.fork()
    if not child:
        own = OwnDirectory.make(where)
        (own.path / "box").mkdir()
        (own.path / "box" / "file").write_text("x")
        os.kill(os.getpid(), signal.SIGKILL)
    os.waitpid(child, 0)
    (path,) = set(where.iterdir()) - before
    return path


@pytest.fixture
def shared(tmp_path):
    """A directory where everybody may write."""
    place = tmp_path / "shared"
    place.mkdir()
    place.chmod(0o1777)
    return place


def test_what_a_killed_session_left_is_removed(shared):
    """The next session finds it, and removes it with all in it; the place keeps its mode."""
    left = left_by_a_killed_session(shared)
    assert (left / "box" / "file").exists()
    remove_stale(shared)
    assert list(shared.iterdir()) == []
    assert shared.stat().st_mode & 0o7777 == 0o1777


def test_a_session_that_is_killed_at_any_step_leaves_what_is_swept(shared):
    """Whatever it was about to do as it made, filled or removed its directory, the next one clears it up."""
    for last in itertools.count(1):
        child = os.fork()
        if not child:
            left = itertools.count(1)

            def strike(event, _arguments, left=left, last=last):
                if event in STEPS and next(left) == last:
                    os.kill(os.getpid(), signal.SIGKILL)

            sys.addaudithook(strike)
            own = OwnDirectory.make(shared)
            (own.path / WORKERS).mkdir()
            (own.path / WORKERS / "0").touch()
            own.remove()
            os._exit(0)
        status = os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
        remove_stale(shared)
        assert list(shared.iterdir()) == [], f"killed at step {last}"
        if status == 0:
            break
    assert last > 15


LEFT_ALONE = {
    "a file of that name": lambda place, _left: (place / LIKE_OURS).touch(),
    "one with a lock": lambda place, _left: (place / LIKE_OURS / "lock").touch(),
    "an empty mark": lambda place, left: (place / LIKE_OURS / marked(left).name).touch(),
    "another's mark": lambda place, left: shutil.copy(marked(left), place / LIKE_OURS),
    "a linked mark": lambda place, left: os.link(marked(left), place / LIKE_OURS / marked(left).name),
}


def marked(left):
    """Return the mark of a directory that is ours."""
    (mark,) = [path for path in left.iterdir() if path.name.startswith(".")]
    return mark


@pytest.mark.parametrize("what", LEFT_ALONE)
def test_a_directory_of_the_users_is_left_alone(shared, tmp_path, what):
    """It may be called as ours are, be closed to others, and hold whatever ours hold: the mark names ours."""
    (tmp_path / "elsewhere").mkdir()
    left = left_by_a_killed_session(tmp_path / "elsewhere")
    if what != "a file of that name":
        (shared / LIKE_OURS).mkdir(0o700)
        (shared / LIKE_OURS / "thesis").write_text("the user's")
    LEFT_ALONE[what](shared, left)
    before = {path: path.lstat() for path in shared.rglob("*")}
    remove_stale(shared)
    assert {path: path.lstat() for path in shared.rglob("*")}.keys() == before.keys()
    assert all(path.lstat().st_mode == info.st_mode for path, info in before.items())


def test_a_copy_or_another_name_of_ours_is_not_ours(shared):
    """A backup of such a directory is the user's, and so is one that the user has given another name."""
    left = left_by_a_killed_session(shared)
    shutil.copytree(left, shared / LIKE_OURS)
    left.rename(shared / LIKE_OURS.replace("0", "f"))
    remove_stale(shared)
    assert len(list(shared.rglob("file"))) == 2


def test_one_that_others_may_enter_is_left_alone(shared):
    """We make none that another user can write in or look into."""
    left = left_by_a_killed_session(shared)
    left.chmod(0o755)
    remove_stale(shared)
    assert left.exists()
    left.chmod(0o700)
    remove_stale(shared)
    assert not left.exists()


def test_a_link_that_somebody_planted_is_not_followed(shared, tmp_path):
    """Neither the place nor what the link leads to is changed, be it a directory of ours."""
    (tmp_path / "elsewhere").mkdir()
    left = left_by_a_killed_session(tmp_path / "elsewhere")
    left.chmod(0o700)
    (shared / LIKE_OURS).symlink_to(left)
    (shared / left.name).symlink_to(left)
    remove_stale(shared)
    assert len(list(shared.iterdir())) == 2
    assert (left / "box" / "file").exists()
    assert shared.stat().st_mode & 0o7777 == 0o1777


@pytest.mark.skipif(os.geteuid() != 0, reason="mounting needs root")
def test_what_is_mounted_is_undone_in_ours_alone(shared, tmp_path):
    """A mount in a directory of ours is undone, and left whole; one where a planted link leads to stays."""
    precious, victim = tmp_path / "precious", tmp_path / "victim"
    for place in (precious, victim / "mnt"):
        place.mkdir(parents=True)
    (precious / "file").write_text("the user's")
    (victim / "lock").touch()
    (shared / LIKE_OURS).symlink_to(victim)
    left = left_by_a_killed_session(shared)
    points = [victim / "mnt", left / "box"]
    try:
        for point in points:
            subprocess.run(["mount", "--bind", precious, point], check=True)
        remove_stale(shared)
        assert [bool(below(point)) for point in points] == [True, False]
    finally:
        for point in points:
            subprocess.run(["umount", point], check=False, capture_output=True)
    assert not left.exists()
    assert (precious / "file").read_text() == "the user's"


def test_one_that_is_in_use_is_left_alone(shared):
    """It is while its session lives, and after that while a worker does that has not yet seen the end."""
    own = OwnDirectory.make(shared)
    remove_stale(shared)
    assert own.path.exists()
    own.remove()
    left = left_by_a_killed_session(shared)
    (left / WORKERS).mkdir()
    with (left / WORKERS / "0").open("wb") as errors:
        fcntl.flock(errors, fcntl.LOCK_EX)
        remove_stale(shared)
        assert (left / "box" / "file").exists()
    remove_stale(shared)
    assert not left.exists()


def test_one_that_somebody_still_writes_in_stays_marked(shared, monkeypatch):
    """What could not be removed is found again by the next session."""
    left = left_by_a_killed_session(shared)
    remove = os.rmdir

    def too_late(name, *, dir_fd):
        if name == left.name:
            (left / "late").touch()
        remove(name, dir_fd=dir_fd)

    with monkeypatch.context() as patched:
        patched.setattr(os, "rmdir", too_late)
        remove_stale(shared)
    assert (left / "late").exists()
    remove_stale(shared)
    assert not left.exists()


def test_sessions_that_begin_and_end_at_once_take_nothing_from_each_other(shared):
    """Each sweeps before it begins: none sweeps what another has only just made."""
    children = []
    for _ in range(3):
        child = os.fork()
        if not child:
            with contextlib.suppress(BaseException):
                for _ in range(60):
                    remove_stale(shared)
                    own = OwnDirectory.make(shared)
                    remove_stale(shared)
                    (own.path / "file").touch()
                    own.remove()
                os._exit(0)
            os._exit(1)
        children.append(child)
    assert [os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) for child in children] == [0, 0, 0]
    assert list(shared.iterdir()) == []


def test_a_session_sweeps_before_it_begins_and_leaves_nothing(shared):
    """What a killed session left is gone once another has begun, and a user's own directory is not."""
    left = left_by_a_killed_session(shared)
    users = shared / "outlive-results"
    users.mkdir()
    (users / "lock").touch()
    with Session(jobs=0, box_dir=shared) as session:
        assert sorted(shared.iterdir()) == sorted([users, session.root])
    assert list(shared.iterdir()) == [users]
    assert not left.exists()
