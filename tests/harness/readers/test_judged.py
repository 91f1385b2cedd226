"""Each reader in use: outputs that differ byte by byte in each run are judged by what they mean."""

import importlib
import textwrap

import pytest

from outlive_harness.readers.table import READER
from outlive_harness.results.verdicts import Exit, RunResult, Verdict

#: For each reader: its option, the library, and a program that writes a file at PATH.
WRITERS = {
    "gzip": ("gzip", "", "import gzip\nwith gzip.open(PATH, 'wb') as f: f.write(b'x' * 999)"),
    "zip": ("zip", "", "import zipfile\nwith zipfile.ZipFile(PATH, 'w') as f: f.writestr('a', 'x' * 999)"),
    "tar": (
        "tar",
        "",
        (
            "import io, tarfile\nwith tarfile.open(PATH, 'w:gz') as f:\n"
            "    info = tarfile.TarInfo('a'); info.size = 999; info.mtime = time.time()\n"
            "    f.addfile(info, io.BytesIO(b'x' * 999))"
        ),
    ),
    "json": (
        "json:-at",
        "",
        "import json\nwith open(PATH, 'w') as f: json.dump({'at': time.time(), 'rows': [1, 2]}, f)",
    ),
    "csv": (
        "csv:-at",
        "",
        (
            "import csv\nwith open(PATH, 'w', newline='') as f:\n"
            "    csv.writer(f).writerows([['id', 'at'], [1, time.time()]])"
        ),
    ),
    "yaml": (
        "yaml:-at",
        "yaml",
        "import yaml\nwith open(PATH, 'w') as f: yaml.safe_dump({'at': time.time(), 'rows': [1]}, f)",
    ),
    "text": ("text", "", "with open(PATH, 'w') as f: f.write('done at %s s\\nok\\n' % time.time())"),
    "xlsx": (
        "xlsx",
        "openpyxl",
        "import openpyxl\nbook = openpyxl.Workbook()\nbook.active.append(['id', 1])\nbook.save(PATH)",
    ),
    "parquet": (
        "parquet:-at",
        "pyarrow",
        (
            "import pyarrow, pyarrow.parquet as pq\n"
            "pq.write_table(pyarrow.table({'id': [1], 'at': [time.time()]}), PATH)"
        ),
    ),
    "arrow": (
        "arrow:-at",
        "pyarrow",
        (
            "import pyarrow as pa\ntable = pa.table({'id': [1], 'at': [time.time()]})\n"
            "with pa.OSFile(PATH, 'wb') as out, pa.ipc.new_file(out, table.schema) as f: f.write_table(table)"
        ),
    ),
    "npy": (
        "npy",
        "numpy",
        "import numpy as np\nwith open(PATH, 'wb') as f: np.savez(f, at=np.arange(9))\ntime.time()",
    ),
    "bytes": ("bytes", "", "with open(PATH, 'w') as f: f.write('always the same')"),
}
#: SQLite is tested below: it is not renamed into place.
APART = {"sqlite"}


def test_each_reader_is_tested_here():
    """A new reader has a known-good and a known-bad pipeline."""
    assert WRITERS.keys() | APART == READER.keys()


def source(option, write, *, in_place):
    """Return a scenario whose body writes one output, in place or beside it and renamed."""
    path = "out/file" if in_place else "out/.file.tmp"
    body = [f"PATH = {path!r}", "os.makedirs('out', exist_ok=True)", *write.splitlines()]
    body += [] if in_place else ["os.replace(PATH, 'out/file')"]
    masks = r', mask=r"\d+\.\d+ s"' if option == "text" else ""
    head = f'@scenario(outputs="out/*", read={{"out/*": {option!r}}}{masks})\ndef it():\n'
    return head + textwrap.indent("\n".join(body), "    ") + "\n"


@pytest.mark.parametrize("reader", WRITERS)
@pytest.mark.parametrize("in_place", [False, True], ids=["renamed", "in place"])
def test_a_whole_value_is_told_from_a_partial_one(one, reader, in_place):
    """Written beside and renamed it is held, whatever time is in it; written in place it is half-written."""
    option, library, write = WRITERS[reader]
    if library:
        try:
            importlib.import_module(library)
        except ImportError:
            pytest.skip(f"{library} is not installed")
    result = one(source(option, write, in_place=in_place))
    assert result.verdict is (Verdict.VIOLATED if in_place else Verdict.HELD), result
    if in_place:
        assert {found.kind for found in result.violations} == {"torn-output"}
        if reader not in ("bytes", "text"):
            assert f"by the reader {option}" in result.violations[0].detail or reader in (
                result.violations[0].detail
            )


SQLITE = """
@scenario(outputs="out/*")
def it():
    import sqlite3
    os.makedirs("out", exist_ok=True)
    database = sqlite3.connect("out/rows.db", isolation_level=None)
    database.execute("CREATE TABLE IF NOT EXISTS rows(id INTEGER PRIMARY KEY, name)")
    for start in STARTS:
        database.execute("BEGIN")
        database.executemany("INSERT OR REPLACE INTO rows VALUES (?, 'x')", [(start + n,) for n in range(9)])
        database.execute("COMMIT")
    database.close()
"""


def test_a_database_is_judged_by_its_rows_without_being_asked(one):
    """One transaction is held, though bytes and counters differ; two transactions show half of the rows."""
    held = one(SQLITE.replace("STARTS", "[0]"))
    assert held.verdict is Verdict.HELD, held
    violated = one(SQLITE.replace("STARTS", "[0, 9]"))
    (found,) = violated.violations
    assert (found.kind, found.path) == ("torn-output", "out/rows.db")
    assert "table rows: golden: 18 rows, here: 9" in found.detail
    assert "put what belongs together into one" in found.detail
    assert not found.advice


def test_rows_that_a_recovery_inserts_again_are_told(one):
    """Inserted without a key, a batch is there twice after a crash behind its commit."""
    source = SQLITE.replace(" PRIMARY KEY", "").replace("STARTS", "[0]").replace("OR REPLACE ", "")
    result = one(source.replace("    database.close()", "    database.close()\n    put('out/done', 'x')"))
    found = next(one for one in result.violations if one.kind == "diverged")
    assert "row [0, 'x']: golden: once, here: twice" in found.detail


def test_a_function_reads_an_output(one):
    """What it returns is compared, and what it raises says why an output is not whole."""
    source = """
        def rows(path):
            text = path.read_text()
            if not text.endswith("end"):
                raise ValueError(f"no end behind {len(text)} characters")
            return sorted(text.split()[1:])

        @scenario(outputs="out/*", read={"out/*": rows})
        def it():
            text = f"{time.time()} b a end"
            WRITE
    """
    good = one(source.replace("WRITE", "put('out/o', text)"))
    assert good.verdict is Verdict.HELD, good
    bad = one(source.replace("WRITE", "os.makedirs('out', exist_ok=True); Path('out/o').write_text(text)"))
    (found,) = bad.violations
    assert "it raised ValueError: no end behind 0 characters" in found.message


def test_a_directory_is_one_output(one):
    """A partitioned dataset is whole with all of its files, whose names differ in each run."""
    pytest.importorskip("pyarrow")
    source = """
        @scenario(outputs="out/**", read={"out/sales": "parquet"})
        def it():
            import pyarrow as pa, pyarrow.dataset as ds, shutil, uuid
            table = pa.table({"year": [2025, 2026], "n": [1, 2]})
            place = PLACE
            shutil.rmtree("new", ignore_errors=True)
            shutil.rmtree(place, ignore_errors=True)
            ds.write_dataset(table, place, format="parquet", partitioning=["year"],
                partitioning_flavor="hive", basename_template=uuid.uuid4().hex + "-{i}.parquet",
                use_threads=False, existing_data_behavior="delete_matching")
            if place == "new":
                os.makedirs("out", exist_ok=True)
                if not os.path.exists("out/sales"):
                    os.rename("new", "out/sales")
                shutil.rmtree("new", ignore_errors=True)
    """
    good = one(source.replace("PLACE", "'new'"))
    assert good.verdict is Verdict.HELD, good
    bad = one(source.replace("PLACE", "'out/sales'"))
    assert {(found.kind, found.path) for found in bad.violations} == {("torn-output", "out/sales")}


def test_a_reader_that_refuses_the_golden_output_is_told(one):
    """It is an error of use, with what the reader says; a reader with nothing to read is one, too."""
    result = one(source("json", "with open(PATH, 'w') as f: f.write('no json')", in_place=True))
    assert result.verdict is Verdict.UNKNOWN
    assert result.is_misuse
    assert "read={'out/file': 'json'}: after the golden run it is not JSON" in result.reason
    result = one(
        source("json", "pass", in_place=True).replace('outputs="out/*"', 'outputs="o/*"')
        + "    put('o/x', '1')\n"
    )
    assert "read={'out/*': 'json'}: the golden run left nothing that matches" in result.reason
    assert RunResult([result], 0, 0.0).exit_status is Exit.USAGE


@pytest.mark.parametrize("fault", ["torn", "power", "full", "term"])
def test_every_fault_judges_values(one, fault):
    """A torn or lost part of a compressed file is found by its reader, and a careful program is held."""
    careful = """
        @scenario(outputs="out/*", read={"out/*": "gzip"})
        def it():
            import gzip, random
            os.makedirs("out", exist_ok=True)
            with gzip.open("out/.tmp", "wb") as f:
                f.write(random.Random(1).randbytes(9999))
            with open("out/.tmp", "rb") as f:
                os.fsync(f)
            os.replace("out/.tmp", "out/o")
            for place in ("out", "."):
                fd = os.open(place, os.O_RDONLY)
                os.fsync(fd)
    """
    result = one(careful, faults=(fault,))
    assert result.verdict is Verdict.HELD, result
    careless = careful.replace("os.fsync(f)", "pass")
    result = one(careless, faults=(fault,))
    assert (result.verdict is Verdict.VIOLATED) == (fault == "power"), result


def test_a_mask_does_not_make_a_database_a_text(one):
    """A database beside a masked report is still read as one: its counter of changes is not compared."""
    result = one(
        """
        @scenario(outputs="out/*", mask=r"at [0-9.]+")
        def it():
            import sqlite3
            os.makedirs("out", exist_ok=True)
            with sqlite3.connect("out/t.db") as db:
                db.execute("create table if not exists t(a)")
                db.execute("delete from t")
                db.execute("insert into t values (1)")
            db.close()
            put("out/report", f"at {time.time()}")
        """
    )
    assert result.verdict is Verdict.HELD, (result.reason, result.violations)
