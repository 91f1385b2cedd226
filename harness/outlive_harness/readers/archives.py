"""Readers of compressed files and archives: what they hold, without the times in their headers."""

from __future__ import annotations

import bz2
import gzip as gzip_module
import io
import lzma
import re
import stat
import tarfile
import zipfile
import zlib
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from .kinds import Members, ReadError, Table, Tables

#: Parts of an Office document that say when, and by what program, it was written.
_PROPERTIES = re.compile(rb"<dcterms:(created|modified)[^>]*>[^<]*</dcterms:\1>")
_BROKEN = (EOFError, zlib.error, gzip_module.BadGzipFile, lzma.LZMAError)


def gzip(path: Path, _left_out: Sequence[str]) -> bytes:
    """Return what a gzip file holds; the name and time in its header are left out (RFC 1952).

    Raises:
        ReadError: it is cut short, or its checksum is wrong.
    """
    content = path.read_bytes()
    if not content:
        raise ReadError("it is empty, and not even a gzip header is there")
    try:
        return gzip_module.decompress(content)
    except _BROKEN as error:
        raise ReadError(f"it is not a whole gzip file: {error}") from error


def zip_members(path: Path, _left_out: Sequence[str]) -> Members:
    """Return the members of a zip file (a jar, an npz, ...) by name, without their times.

    In an Office document the times of its properties are left out, too.
    """
    found = Members()
    try:
        with zipfile.ZipFile(path) as archive:
            for info in archive.infolist():
                if info.filename in found:
                    raise ReadError(f"the member {info.filename} is there twice")
                content = archive.read(info)
                if info.filename == "docProps/core.xml":
                    content = _PROPERTIES.sub(b"", content)
                found[info.filename] = content
    except (zipfile.BadZipFile, *_BROKEN) as error:
        raise ReadError(f"it is not a whole zip file: {error}") from error
    return found


def tar(path: Path, _left_out: Sequence[str]) -> Members:
    """Return the members of a tar file, perhaps compressed, by name: type, mode, link target, content."""
    found = Members()
    try:
        _demand_end(path)
        with tarfile.open(path) as archive:
            for info in archive:
                facts: dict[str, Any] = {"mode": f"{stat.S_IMODE(info.mode):04o}"}
                if info.isfile():
                    file = archive.extractfile(info)
                    facts["content"] = file.read() if file is not None else b""
                else:
                    facts["type"] = info.type
                    facts["link"] = info.linkname
                found[info.name] = facts
    except (tarfile.TarError, *_BROKEN, OSError) as error:
        raise ReadError(f"it is not a whole tar file: {error}") from error
    return found


def _demand_end(path: Path) -> None:
    """Raise an error if the two blocks of zeros are missing that end each archive: tarfile accepts that."""
    content = path.read_bytes()
    for start, opened in ((b"\x1f\x8b", gzip_module), (b"BZh", bz2), (b"\xfd7zXZ", lzma)):
        if content.startswith(start):
            content = opened.decompress(content)
    if len(content) < 1024 or len(content) % 512 or any(content[-1024:]):
        raise ReadError("it is not a whole tar file: the two empty blocks at its end are missing")


def xlsx(path: Path, left_out: Sequence[str]) -> Any:  # noqa: ANN401 - sheets, or members without openpyxl
    """Return the sheets of a workbook as tables if openpyxl is installed, else its members."""
    members = zip_members(path, ())
    try:
        import openpyxl  # noqa: PLC0415 - not everybody has it
    except ImportError:
        if left_out:
            raise ReadError(
                "to leave out columns the reader xlsx needs openpyxl: pip install openpyxl"
            ) from None
        return members
    book = openpyxl.load_workbook(io.BytesIO(path.read_bytes()), data_only=False, read_only=False)
    found = Tables()
    for sheet in book.worksheets:
        rows = [list(row) for row in sheet.iter_rows(values_only=True)]
        header = [str(cell) if cell is not None else "" for cell in rows[0]] if rows else []
        found[sheet.title] = Table(header, (), rows[1:]).without(left_out, sheet.title)
    book.close()
    return found
