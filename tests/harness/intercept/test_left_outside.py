"""Shared memory and temporary files that a killed run leaves are removed once they are not needed."""

import os
import secrets
import subprocess
from pathlib import Path

import pytest

from outlive_harness.intercept.made import Made
from outlive_harness.results.verdicts import Verdict

SHM = Path("/dev/shm")
PLACES = [SHM, Path("/tmp"), Path("/var/tmp")]


@pytest.fixture
def word():
    """A word that no name outside this test has; what has it is removed."""
    found = f"ours-{secrets.token_hex(6)}"
    yield found
    for path in left(found):
        subprocess.run(["rm", "-r", path], check=True)


def left(word):
    """Return what has a word in its name."""
    return sorted(path for place in PLACES for path in place.glob(f"*{word}*"))


PIPELINE = """
import _multiprocessing, mmap
from multiprocessing import shared_memory

@scenario(outputs="out", faults=["kill", "term"])
def it():
    word = "WORD"
    own = f"{word}-{os.getpid()}"
    lock = _multiprocessing.SemLock(1, 1, 1, "/" + own, False)
    memory = shared_memory.SharedMemory(own + "-m", create=True, size=100)
    folder = Path("/dev/shm", own + "-folder")
    folder.mkdir()
    for name in ("array.t", "array"):
        (folder / name).write_bytes(b"x")
    (folder / "array.t").rename(folder / "renamed")
    folder.rename(f"{folder}-2")
    Path("/var/tmp", own).symlink_to("nowhere")
    os.mkfifo(f"/tmp/{own}")
    put("out", "x")
    memory.close()
    memory.unlink()
    _multiprocessing.sem_unlink("/" + own)
    os.system(f"rm -r /dev/shm/{own}-folder-2 /var/tmp/{own} /tmp/{own}")
"""


def test_a_killed_run_leaves_nothing_behind(one, word):
    """Semaphores, memory and folders with files in it, under whatever name: all that a trial's runs made."""
    result = one(PIPELINE.replace("WORD", word))
    assert result.verdict is Verdict.HELD, result
    assert result.faults["kill"].tested >= 3
    assert left(word) == []


def test_a_recovery_finds_what_the_kill_left(one, word):
    """SIGKILL clears no shared memory: only after the recovery it is removed."""
    source = """
@scenario(outputs="out", faults="kill")
def it():
    mark = Path("/dev/shm/WORD-" + Path.cwd().parent.name)  # each worker has its own
    assert mark.exists() == (Path("begun").exists() and not Path("out").exists()), "not as a kill leaves it"
    put("begun", "x")
    mark.touch()
    put("out", "x")
    mark.unlink()
"""
    result = one(source.replace("WORD", word), select="all")
    assert result.verdict is Verdict.HELD, result
    assert left(word) == []


def test_what_a_run_leaves_on_purpose_stays(one, word):
    """A run that ends well may leave what others are to find, and later runs do."""
    source = """
@scenario(outputs="out", faults="kill")
def it():
    cache = Path("/dev/shm/WORD")
    if not cache.exists():
        cache.write_text("made once")
    put("out", cache.read_text())
"""
    result = one(source.replace("WORD", word))
    assert result.verdict is Verdict.HELD, result
    assert [path.read_text() for path in left(word)] == ["made once"]


def test_only_what_was_made_is_removed(word):
    """Files from before, other files of the same name, and another program's files beside it all stay."""
    made, folder = Made(), SHM / f"{word}-folder"
    names = [SHM / f"{word}-{name}" for name in ("made", "replaced", "failed", "other")]
    for path in [*names[:3], folder, folder / "made"]:
        made.note(7, os.fsencode(path))
    made.note(7, os.fsencode(names[3] / "in a folder that was there"))
    folder.mkdir()
    for path in (*names[:2], folder / "made", folder / "foreign"):
        path.touch()
    made.settle(7)
    names[2].touch()  # later, by somebody else
    (SHM / f"{word}-t").touch()
    (SHM / f"{word}-t").rename(names[1])
    names[3].mkdir()
    (names[3] / "in a folder that was there").touch()
    kept = Made()
    kept.take(made)
    kept.remove()
    assert left(word) == sorted([folder, *names[1:]])
    assert [path.name for path in folder.iterdir()] == ["foreign"]
    (folder / "foreign").unlink()
    made.remove()
    assert left(word) == sorted(names[1:])


def test_no_link_is_followed(word):
    """Where a link has the name of a directory that was made, neither it nor what it leads to is removed."""
    made, folder = Made(), SHM / word
    for path in (folder, folder / "file"):
        made.note(7, os.fsencode(path))
    folder.mkdir()
    (folder / "file").touch()
    made.settle(7)
    moved = folder.rename(SHM / f"{word}-moved")
    folder.symlink_to(moved)
    made.remove()
    assert left(word) == [folder, moved]
    assert (moved / "file").exists()
