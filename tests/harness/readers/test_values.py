"""Values: what makes two equal, and where they differ, in words."""

import dataclasses
import datetime as dt
from decimal import Decimal

import pytest

from outlive_harness.readers.kinds import Members, ReadError, Table, Tables, Text
from outlive_harness.readers.values import differences, digest
from outlive_harness.readers.view import View

ALL = View()


def told(golden, here):
    """Return the differences of two values in words."""
    return [str(one) for one in differences(ALL.of(golden), ALL.of(here))]


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ({"a": 1, "b": 2}, {"b": 2, "a": 1}),
        ({1, 2, 3}, {3, 2, 1}),
        ((1, 2), [1, 2]),
        (float("nan"), float("nan")),
        (Table(["a"], (), [[1], [2]], has_order=False), Table(["a"], (), [[2], [1]], has_order=False)),
    ],
)
def test_equal_values(one, other):
    """Neither the order of keys and sets, nor of rows without one, is part of a value; NaN equals itself."""
    assert digest(ALL.of(one)) == digest(ALL.of(other))
    assert not told(one, other)


@pytest.mark.parametrize(
    ("golden", "here", "words"),
    [
        ({"a": {"b": 1}}, {"a": {"b": 2}}, "key 'a', key 'b': golden: 1, here: 2"),
        ({"a": 1}, {}, "key 'a': golden: 1, here: absent"),
        ([1, 2], [1], "the value: golden: 2 items, here: 1"),
        (1, 1.0, "the value: golden: 1, here: 1.0"),
        (True, 1, "the value: golden: True, here: 1"),
        ("1", 1, "the value: golden: '1', here: 1"),
        (Text("a\nb\n"), Text("a\nc\n"), "line 2: golden: 'b', here: 'c'"),
        (Text("a\n"), Text("a"), "the last line: golden: ends with a newline, here: ends without one"),
        (Members(x=b"1\n2\n"), Members(x=b"1\n3\n"), "member x, line 2: golden: '2', here: '3'"),
        (b"\xff\x01", b"\xff\x02", "byte 1: golden: 01, here: 02"),
        (
            Table(["id", "price"], (), [[1, 2.5], [2, 3.5]]),
            Table(["id", "price"], (), [[1, 2.5], [2, 4.5]]),
            "row 2, column 'price': golden: 3.5, here: 4.5",
        ),
        (
            Tables(t=Table(["n"], (), [[1]], has_order=False)),
            Tables(t=Table(["n"], (), [[1], [1]], has_order=False)),
            "table t, row [1]: golden: once, here: twice",
        ),
        (Table(["n"], ["int64"], []), Table(["n"], ["double"], []), "column 'n': golden: type int64"),
    ],
)
def test_a_difference_is_told_in_the_terms_of_the_value(golden, here, words):
    """Rows, columns, keys, lines and members are named, with both values; other values are not equal."""
    assert any(line.startswith(words) for line in told(golden, here)), told(golden, here)
    assert digest(ALL.of(golden)) != digest(ALL.of(here))


def test_types_of_other_libraries_become_plain_values():
    """Dates, decimals and dataclasses are compared by what they say."""

    @dataclasses.dataclass
    class Row:
        day: dt.date
        price: Decimal

    one = Row(dt.date(2026, 1, 2), Decimal("1.50"))
    assert told(one, Row(dt.date(2026, 1, 3), Decimal("1.50"))) == [
        "key 'Row', key 'day': golden: 'date 2026-01-02', here: 'date 2026-01-03'"
    ]


def test_frames_of_pandas_are_tables():
    """A function that returns a data frame is judged by its cells, columns and types."""
    pandas = pytest.importorskip("pandas")
    one, other = pandas.DataFrame({"a": [1, 2]}), pandas.DataFrame({"a": [1, 3]})
    assert told(one, other) == ["row 2, column 'a': golden: 2, here: 3"]
    assert told(one, one.astype("float64")) != []


def test_what_cannot_be_compared_is_refused():
    """An object whose repr is its address would differ in each run."""
    with pytest.raises(ReadError, match="the reader returned object, which cannot be compared"):
        ALL.of(object())
