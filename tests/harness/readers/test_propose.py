"""What is proposed for files that differ from run to run: the reader, the keys, the masks that cure it."""

import gzip
import json
import sqlite3
import uuid
from contextlib import closing

import pytest

from outlive_harness.readers.formats import FORMATS
from outlive_harness.readers.propose import propose
from outlive_harness.readers.table import READER
from outlive_harness.readers.view import View
from outlive_harness.results.reader_names import READERS


def gz(number):
    """Return a gzip file that another run made at another time."""
    return gzip.compress(b"a\nb\n" * 9, mtime=number)


def document(number):
    """Return a report with a time and a random id."""
    run = {"id": str(uuid.UUID(int=number)), "n": 1}
    return json.dumps({"total": 3, "at": 1e9 + number, "run": run}).encode()


def notebook(number):
    """Return a notebook as papermill leaves it: times in each cell, below keys that hold a dot."""
    times = {"start_time": number, "end_time": number, "duration": number}
    busy = {"iopub.execute_input": number, "shell.execute_reply": number}
    cell = {
        "id": f"c{number}",
        "source": "1",
        "metadata": {"execution": busy, "papermill": times, "tags": ["parameters"]},
    }
    return json.dumps({"cells": [cell, cell], "metadata": {"papermill": times}}).encode()


@pytest.mark.parametrize(
    ("name", "make", "reader", "masks"),
    [
        ("rows.gz", gz, "gzip", 0),
        ("report.json", document, "json:-at,-run.id", 0),
        ("report.json.gz", lambda n: gzip.compress(document(n), mtime=n), "gzip+json:-at,-run.id", 0),
        (
            "out.ipynb",
            notebook,
            "json:-cells.id,-cells.metadata.execution,-cells.metadata.papermill,-metadata.papermill",
            0,
        ),
        ("rows.csv", lambda n: b"id,when\n1,%d\n" % n, "csv:-when", 0),
        ("etl.log", lambda n: b"2026-01-02 03:04:%02d,%03d INFO done in %d ms\n" % (n, n, n), "", 2),
        ("ctime.txt", lambda n: b"made Tue Dec  1 05:46:%02d 2026\n" % n, "", 1),
        ("mail.txt", lambda n: b"Date: Wed, 02 Dec 2026 05:46:%02d +0100\n" % n, "", 1),
        ("date.txt", lambda n: b"Tue Dec  1 05:46:%02d UTC 2026\n" % n, "", 1),
        ("page.html", lambda n: b"<p id='%s'>" % str(uuid.UUID(int=n)).encode(), "", 1),
        ("data.bin", lambda n: b"\xff\x00" + bytes([n]), None, 0),
        ("notes.txt", lambda n: b"heads" if n % 2 else b"tails", None, 0),
    ],
)
def test_a_cure_is_found_where_there_is_one(tmp_path, name, make, reader, masks):
    """Formats by name and first bytes; keys and columns where only they differ; else the fewest masks."""
    paths = []
    for number in (3, 4):
        place = tmp_path / str(number)
        place.mkdir()
        (place / name).write_bytes(make(number))
        paths.append(place / name)
    found = propose(*paths, View())
    assert found.get("reader") == reader
    assert len(found.get("masks", [])) == masks


def test_a_time_in_a_database_is_a_column_of_a_table(tmp_path):
    """A database is known by its first bytes, whatever its name."""
    paths = [tmp_path / "one", tmp_path / "other"]
    for number, path in enumerate(paths):
        with closing(sqlite3.connect(path)) as database, database:
            database.execute("CREATE TABLE runs(id, at)")
            database.execute("INSERT INTO runs VALUES (1, ?)", [number])
    assert propose(*paths, View()) == {"reader": "sqlite:-runs.at", "masks": []}


def test_the_tables_of_readers_agree():
    """Each reader has a name that can be declared, and what is recognised has a reader."""
    assert set(READERS) == READER.keys()
    assert FORMATS.keys() < READER.keys()
