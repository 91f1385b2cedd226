"""The readers of text: what is whole, what is equal, and how a difference is told."""

import json as json_module

import pytest

from outlive_harness.readers.kinds import ReadError
from outlive_harness.readers.texts import csv, json, text, yaml
from outlive_harness.readers.values import differences, digest
from outlive_harness.readers.view import View


@pytest.fixture
def write(tmp_path):
    """Write a content to a file, and return its path."""

    def to(content):
        path = tmp_path / "file"
        path.write_bytes(content if isinstance(content, bytes) else content.encode())
        return path

    return to


ROWS = "id,name\n1,a\n2,b\n"
DOCUMENT = json_module.dumps({"rows": [{"id": 1, "at": "x"}], "total": 3.5}, indent=1)


@pytest.mark.parametrize(
    ("reader", "content"),
    [(csv, ROWS), (json, DOCUMENT), (json, '{"a": 1}\n{"a": 2}\n'), (yaml, "a: 1\nb: [1, 2]\n")],
)
def test_no_part_of_a_text_is_taken_for_the_whole(write, reader, content):
    """A strict prefix is refused by its reader, or has another value: none is equal to the whole."""
    if reader is yaml:
        pytest.importorskip("yaml")
    whole = digest(View().of(reader(write(content), ())))
    for length in range(len(content.rstrip())):
        try:
            part = digest(View().of(reader(write(content[:length]), ())))
        except ReadError:
            continue
        assert part != whole, content[:length]


def test_the_last_field_of_a_csv_file_may_be_cut(write):
    """``10`` cut to ``1`` is a number, too: a missing newline behind the last row makes another value."""
    whole, cut = (View().of(csv(write(one), ())) for one in ("n\n1\n", "n\n1"))
    assert digest(whole) != digest(cut)
    assert "no newline" in str(next(differences(whole, cut)))


@pytest.mark.parametrize(
    ("reader", "content", "told"),
    [
        (csv, "", "no header line"),
        (csv, "a,b\n1\n", "row 1 has 1 fields, and the header has 2"),
        (csv, 'a\n"x', "not CSV"),
        (csv, b"\xff", "not UTF-8 text"),
        (json, "", "not JSON"),
        (json, '{"a": 1, "a": 2}', "the key 'a' stands twice"),
        (json, '{"a": 1}\n{"a"', "line 2 has no newline behind it"),
        (json, '{"a": 1}\n{"a"\n', "neither JSON nor JSON Lines: line 2"),
    ],
)
def test_what_is_not_whole_is_refused_with_a_reason(write, reader, content, told):
    """The message says what is wrong with the file, and where."""
    with pytest.raises(ReadError, match=told):
        reader(write(content), ())


@pytest.mark.parametrize("delimiter", [",", ";", "\t", "|"])
def test_a_csv_file_has_the_delimiter_of_its_header(write, delimiter):
    """Semicolons, tabs and bars separate fields, too."""
    table = csv(write(delimiter.join("ab") + "\n" + delimiter.join("12") + "\n"), ())
    assert (table.columns, table.rows) == (["a", "b"], [["1", "2"]])


def test_keys_are_left_out_at_any_depth_or_by_their_path(write):
    """``id`` leaves out all keys of that name, ``run.id`` only those inside ``run``."""
    content = json_module.dumps({"id": 1, "run": {"id": 2}, "rows": [{"id": 3, "n": 4}]})
    assert json(write(content), ("id",)) == {"run": {}, "rows": [{"n": 4}]}
    assert json(write(content), ("run.id",)) == {"id": 1, "run": {}, "rows": [{"id": 3, "n": 4}]}
    assert csv(write(ROWS), ("id",)).rows == [["a"], ["b"]]


def test_masks_leave_out_what_matches_in_texts_and_numbers(write):
    """A time, a duration, a uuid: what a mask matches is the same everywhere."""
    view = View((r"\d\d:\d\d", r"took \d+ s"))
    one, other = (view.of(text(write(said), ())) for said in ("at 12:00 took 3 s\n", "at 13:59 took 44 s\n"))
    assert digest(one) == digest(other)
    assert digest(View(("7",)).of({"n": 17})) == digest(View(("7",)).of({"n": "1…"}))


def test_the_path_of_a_box_is_no_part_of_a_value():
    """Runs in other boxes write other paths."""
    view = View((), r"/tmp/w[0-9]/box")
    assert view.of({"/tmp/w1/box/a": b"/tmp/w2/box"}) == {"{box}/a": b"{box}"}
