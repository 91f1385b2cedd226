"""The readers of columnar files: the real libraries' files, whole and cut."""

import pytest

from outlive_harness.readers.columns import arrow, npy, parquet
from outlive_harness.readers.kinds import Absent, ReadError
from outlive_harness.readers.values import digest
from outlive_harness.readers.view import View


def value(read, path, *left_out):
    """Return the digest of what a reader gives."""
    return digest(View().of(read(path, left_out)))


def test_a_dataset_is_one_table_whatever_its_files_are_called(tmp_path):
    """A partitioned directory has the value of its rows, with its partitions as a column."""
    pa, ds = pytest.importorskip("pyarrow"), pytest.importorskip("pyarrow.dataset")
    table = pa.table({"year": ["2025", "2026", "2026"], "n": [1, 2, 3]})
    found = []
    for name in ("one-{i}.parquet", "other-{i}.parquet"):
        place = tmp_path / name[:3]
        ds.write_dataset(
            table, place, format="parquet", partitioning=["year"], partitioning_flavor="hive",
            basename_template=name,
        )  # fmt: skip
        found.append(place)
    one, other = found
    assert {path.name for path in one.rglob("*.parquet")} != {path.name for path in other.rglob("*.parquet")}
    assert value(parquet, one) == value(parquet, other)
    assert value(parquet, one, "year") != value(parquet, one)
    whole = value(parquet, one)
    max(one.rglob("*.parquet")).unlink()
    assert value(parquet, one) != whole
    (tmp_path / "empty").mkdir()
    assert isinstance(parquet(tmp_path / "empty", ()), Absent)


@pytest.mark.parametrize("kind", ["parquet", "arrow", "npy", "npz"])
def test_a_cut_file_is_refused(tmp_path, kind):
    """No strict prefix of a columnar file is taken for the whole, and the message says so."""
    path = tmp_path / f"file.{kind}"
    if kind in ("npy", "npz"):
        np = pytest.importorskip("numpy")
        (np.save if kind == "npy" else np.savez)(path, np.arange(200.0))
        read = npy
    else:
        pa = pytest.importorskip("pyarrow")
        table = pa.table({"n": list(range(200))})
        if kind == "parquet":
            import pyarrow.parquet as pq

            pq.write_table(table, path)
            read = parquet
        else:
            with pa.OSFile(str(path), "wb") as out, pa.ipc.new_file(out, table.schema) as file:
                file.write_table(table)
            read = arrow
    whole, content = value(read, path), path.read_bytes()
    for length in {*range(0, len(content), max(1, len(content) // 40)), len(content) - 1}:
        path.write_bytes(content[:length])
        with pytest.raises(ReadError, match="not"):
            assert value(read, path) != whole
    path.write_bytes(content)
    assert value(read, path) == whole
