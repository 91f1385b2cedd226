"""Files in memory: what is only read there has a verdict; what a database makes anew is known."""

import pytest

from outlive_harness.golden.made_anew import exactly, made_anew
from outlive_harness.jobs.session import Session
from outlive_harness.results.globs import matcher
from outlive_harness.results.verdicts import Verdict

LMDB_PAGE = bytes(16) + b"\xde\xc0\xef\xbe" + bytes(4076)
SQLITE = """
import sqlite3

def inbox():
    with sqlite3.connect("db") as db:
        db.execute("PRAGMA journal_mode=MODE")
        db.execute("CREATE TABLE t (n INTEGER PRIMARY KEY)")
    db.close()

def rows():
    with sqlite3.connect("db") as db:
        return db.execute("SELECT n FROM t").fetchall()

@scenario(setup=inbox, check=rows, faults=("kill", "power"))
def writes():
    db = sqlite3.connect("db")
    db.execute("PRAGMA mmap_size=1000000")
    db.execute("PRAGMA synchronous=FULL")
    with db:
        db.execute("INSERT OR IGNORE INTO t VALUES (1)")
    assert db.execute("SELECT n FROM t").fetchall() == [(1,)]
    db.close()
"""
#: As LMDB does without MDB_WRITEMAP: data is read through memory and written by calls.
LIKE_LMDB = """
@scenario(outputs="data.mdb", faults=("kill", "power"))
def like_lmdb():
    import mmap
    lock = os.open("lock.mdb", os.O_RDWR | os.O_CREAT)
    os.ftruncate(lock, 4096)
    readers = mmap.mmap(lock, 4096)
    readers[:4] = os.getpid().to_bytes(4, "little")
    with open("new", "wb") as new:
        new.write(bytes(16) + bytes.fromhex("dec0efbe") + bytes(4076))
        new.flush()
        os.fsync(new.fileno())
    os.rename("new", "data.mdb")
    data = os.open("data.mdb", os.O_RDWR)
    seen = mmap.mmap(data, 4096, prot=mmap.PROT_READ)
    assert len(seen[:]) == 4096
    os.fsync(data)
"""


@pytest.mark.parametrize("mode", ["DELETE", "WAL"])
def test_sqlite_that_reads_through_memory_has_a_verdict(one, mode):
    """Its database is mapped to be read; in WAL mode its index is stored to, and made anew: that is said."""
    result = one(SQLITE.replace("MODE", mode), points=40)
    assert result.verdict is Verdict.HELD, result
    assert all(coverage.tested > 10 for coverage in result.faults.values())
    left_out = [warning for warning in result.warnings if "db-" in warning]
    assert left_out == ["not judged: db-shm is SQLite's index of its log, which it makes anew"] * (
        mode == "WAL"
    )


def test_a_database_like_lmdb_has_a_verdict(one):
    """What the program notes in its lock file is another thing in each run, and decides nothing."""
    result = one(LIKE_LMDB)
    assert result.verdict is Verdict.HELD, result
    assert [one for one in result.warnings if "lock" in one] == [
        "not judged: lock.mdb is LMDB's table of readers, which it makes anew"
    ]


def test_the_golden_run_keeps_the_recording_that_trials_use(explored):
    """What it found to ignore is part of the pipeline by then: the same zygote makes the recording."""
    with Session(jobs=1) as session:
        (result,) = explored(LIKE_LMDB, within=session, faults=("kill",)).scenarios
        assert result.zygote
        assert [path.name for path in session.root.glob("records/*/recordings*")] == ["recordings"]


def test_what_is_made_anew_is_known_by_the_database_beside_it(tmp_path):
    """A name alone is not enough: without a database beside it, such a file is like any other."""
    (tmp_path / "db").write_bytes(b"SQLite format 3\0" + bytes(84))
    (tmp_path / "d").mkdir()
    (tmp_path / "d/data.mdb").write_bytes(LMDB_PAGE)
    (tmp_path / "one").write_bytes(LMDB_PAGE)
    (tmp_path / "text").write_text("SQLite")
    yes = ["db-shm", "d/lock.mdb", "one-lock"]
    no = ["", "db", "text-shm", "gone-shm", "lock.mdb", "db-lock", "one-shm", "d/data.mdb", "-shm"]
    assert list(made_anew(tmp_path, [*yes, *no])) == yes


def test_patterns_of_paths_match_nothing_else():
    """A path may hold what is special in a pattern."""
    paths = dict.fromkeys(("a*b-shm", "a[bc]d", "x?", "plain"), "")
    matches = matcher(exactly(paths))
    assert all(map(matches, paths))
    assert not any(map(matches, ("aXb-shm", "abd", "xy", "other")))
