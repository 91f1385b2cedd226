"""Drawn files: what a test says that the box holds is what the pipeline reads."""

import csv
import io
import json
from collections import UserDict

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from outlive_harness.drawn.files import contents_of, laid_out
from outlive_harness.results.scenario import ScenarioError


@given(rows=st.lists(st.lists(st.text(), min_size=1)))
@settings(deadline=None, derandomize=True, database=None, max_examples=60)
def test_rows_are_read_as_they_were_drawn(rows):
    """Commas, quotes, newlines of either kind: a reader gets the drawn fields, and lines end as here."""
    (content,) = contents_of({"in.csv": rows}).values()
    assert list(csv.reader(io.StringIO(content.decode(), newline=""))) == rows
    assert content.count(b"\n") >= len(rows)


@pytest.mark.parametrize(
    ("path", "value", "content"),
    [
        ("a.txt", "é\r\n", b"\xc3\xa9\r\n"),
        ("a.csv", "plain", b"plain"),
        ("a.json", '{"a": 1}', b'{"a": 1}'),
        ("a", b"\xff\0", b"\xff\0"),
        ("a", bytearray(b"x"), b"x"),
        ("in/a.csv", [(1, None, "x,y")], b'1,,"x,y"\n'),
        ("a.csv", [], b""),
        ("a.csv", [{"k": 1}, UserDict(v=2)], b"k,v\n1,\n,2\n"),
        ("a.json", {"a": [1, None]}, b'{"a": [1, null]}'),
        ("./a", "x", b"x"),
    ],
)
def test_contents(path, value, content):
    """Texts and bytes as they are, rows by the csv module, dicts below a header, JSON by the json module."""
    assert list(contents_of({path: value}).values()) == [content]


@pytest.mark.parametrize(
    ("files", "message"),
    [
        ([], r"files=\[\] must be a mapping"),
        ({"/etc/x": ""}, r"files\['/etc/x'\] must be the path of a file relative to the box"),
        ({"a/../b": ""}, r"files\['a/../b'\] must be the path"),
        ({"": ""}, r"files\[''\] must be the path"),
        ({3: ""}, r"files\[3\] must be the path"),
        ({b"a": ""}, r"files\[b'a'\] must be the path"),
        ({".outlive/x": ""}, r"files\['.outlive/x'\] must be the path"),
        ({"a": "", "./a": ""}, r"files\['./a'\] names a file of the box that another key names too"),
        ({"a": "", "a/b": ""}, r"files\['a'\] is a file, and 'a/b' is to be in it"),
        ({"a.txt": [1]}, r"files\['a.txt'\]=\[1\] must be a text or bytes; a list of rows goes into"),
        ({"a.csv": [1]}, r"files\['a.csv'\]=\[1\] must be a list of rows"),
        ({"a.csv": ["row"]}, r"files\['a.csv'\]=\['row'\] must be a list of rows"),
        ({"a.csv": [{"a": 1}, [1]]}, r"files\['a.csv'\]=.* must be a list of rows: all of them"),
        ({"a.json": float("nan")}, r"files\['a.json'\]=nan cannot be written"),
        ({"a.json": {1, 2}}, r"files\['a.json'\]=.* cannot be written"),
        ({"a.txt": "\ud800"}, r"files\['a.txt'\]='\\ud800' cannot be written"),
    ],
)
def test_wrong_files_are_told_by_name_and_value(files, message):
    """Messages begin with the file that cannot be written."""
    with pytest.raises(ScenarioError, match=f"^{message}"):
        contents_of(files)


def test_an_input_is_named_by_its_content(tmp_path):
    """Equal files are one directory; other files, names or a changed base are another."""
    base = tmp_path / "base"
    base.mkdir()
    (base / "c.json").write_text(json.dumps(1))
    (base / "a").write_text("as it was")
    first = laid_out(tmp_path / "inputs", base, most=9, contents={"a": b"x", "d/b": b"y"})
    assert {file.name: file.read_text() for file in first.rglob("*") if file.is_file()} == {
        "a": "x",
        "b": "y",
        "c.json": "1",
    }
    assert laid_out(tmp_path / "inputs", base, most=9, contents={"d/b": b"y", "a": b"x"}) == first
    assert laid_out(tmp_path / "inputs", base, most=9, contents={"a": b"xd", "b": b"y"}) != first
    (base / "c.json").write_text(json.dumps(2))
    assert laid_out(tmp_path / "inputs", base, most=9, contents={"a": b"x", "d/b": b"y"}) != first
    assert (base / "a").read_text() == "as it was"
    last = laid_out(tmp_path / "inputs", None, {"a": b"y"}, most=2)
    assert last in (left := list((tmp_path / "inputs").iterdir()))
    assert len(left) == 2


def test_a_link_of_the_base_leads_no_file_out_of_the_box(tmp_path):
    """A file behind a link to the user's own directory is refused, and that directory is unchanged."""
    base, own = tmp_path / "base", tmp_path / "own"
    base.mkdir()
    own.mkdir()
    (base / "in").symlink_to(own)
    with pytest.raises(ScenarioError, match=r"^files\['in/a'\] is behind a link"):
        laid_out(tmp_path / "inputs", base, most=9, contents={"in/a": b"x"})
    assert not list(own.iterdir())
