"""The readers of archives: cut ones are refused, times in headers are no part of the value."""

import gzip as gzip_module
import io
import tarfile
import zipfile

import pytest

from outlive_harness.readers.archives import gzip, tar, xlsx, zip_members
from outlive_harness.readers.kinds import ReadError
from outlive_harness.readers.values import digest
from outlive_harness.readers.view import View


def gzipped(when):
    """Return a gzip file that was made at some time."""
    file = io.BytesIO()
    with gzip_module.GzipFile(fileobj=file, mode="wb", mtime=when) as out:
        out.write(b"hello\n" * 100)
    return file.getvalue()


def zipped(when):
    """Return a zip file that was made at some time."""
    file = io.BytesIO()
    with zipfile.ZipFile(file, "w", zipfile.ZIP_DEFLATED) as out:
        info = zipfile.ZipInfo("a.txt", (2026, 1, 1, 0, 0, when * 2))
        out.writestr(info, "hello " * 100)
    return file.getvalue()


def tarred(when, mode="w"):
    """Return a tar file that was made at some time."""
    file = io.BytesIO()
    with tarfile.open(fileobj=file, mode=mode) as out:
        for name in "ab":
            info = tarfile.TarInfo(name)
            info.size, info.mtime = 700, when
            out.addfile(info, io.BytesIO(b"x" * 700))
    return file.getvalue()


def tarred_and_gzipped(when):
    """Return a compressed tar file that was made at some time."""
    return tarred(when, "w:gz")


@pytest.mark.parametrize(
    ("read", "make"),
    [(gzip, gzipped), (zip_members, zipped), (tar, tarred), (tar, tarred_and_gzipped)],
    ids=["gzip", "zip", "tar", "tar.gz"],
)
def test_times_are_left_out_and_no_part_is_taken_for_the_whole(tmp_path, read, make):
    """Two archives of the same files have one value; each strict prefix is refused or has another."""
    path = tmp_path / "archive"

    def value(content):
        path.write_bytes(content)
        return digest(View().of(read(path, ())))

    content = make(3)
    assert content != make(4)
    assert value(content) == value(make(4))
    last = len(content) if read is not tar or make is not tarred else 2 * 1536 + 1024  # the rest is padding
    for length in {*range(0, last, 37), last - 1}:
        try:
            part = value(content[:length])
        except ReadError:
            continue
        assert part != value(content), length


def test_a_workbook_is_its_cells(tmp_path):
    """Two workbooks of the same cells have one value, though openpyxl writes when they were made."""
    openpyxl = pytest.importorskip("openpyxl")
    import datetime as dt

    found = []
    for number in (1, 2):
        book = openpyxl.Workbook()
        book.active.append(["id", "price"])
        book.active.append([1, 2.5])
        book.properties.created = dt.datetime(2026, 1, number)  # noqa: DTZ001 - openpyxl takes no zones
        path = tmp_path / f"{number}.xlsx"
        book.save(path)
        found.append(path)
    one, other = found
    assert one.read_bytes() != other.read_bytes()
    assert digest(View().of(xlsx(one, ()))) == digest(View().of(xlsx(other, ())))
    assert digest(View().of(zip_members(one, ()))) == digest(View().of(zip_members(other, ())))
    assert xlsx(one, ("price",))["Sheet"].columns == ["id"]
    one.write_bytes(one.read_bytes()[:-30])
    with pytest.raises(ReadError, match="not a whole zip file"):
        xlsx(one, ())
