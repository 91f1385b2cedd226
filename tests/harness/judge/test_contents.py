"""What is in a file that should be whole, in words."""

import os

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from outlive_harness.judge.contents import described, described_file

NEW, OLD = bytes(range(1, 11)), b"o" * 14


@pytest.mark.parametrize(
    ("here", "old", "told"),
    [
        (b"", None, "0 of 10 bytes"),
        (NEW[:4], OLD, "4 of 10 bytes"),
        (bytes(10), None, "right size, zeros from byte 0 on"),
        (NEW[:4] + bytes(6), None, "right size, zeros from byte 4 on"),
        (NEW[:4] + bytes(2), None, "6 bytes, not 10, zeros from byte 4 on"),
        (NEW[:4] + bytes(2) + NEW[6:], None, "right size, zeros from byte 4 to 5"),
        (bytes(2) + NEW[2:6] + bytes(4), None, "right size, zeros from byte 0 to 1, zeros from byte 6 on"),
        (NEW + OLD[10:], OLD, "all 10 bytes, and 4 of the old content behind them"),
        (NEW + bytes(3), None, "all 10 bytes, and 3 zeros behind them"),
        (NEW + b"x", None, "all 10 bytes, and 1 more behind them"),
        (NEW[:3] + OLD[3:], OLD, "3 of 10 bytes, and 11 of the old content behind them"),
        (OLD[:5], OLD, "5 of the 14 bytes that it held before"),
        (NEW[:4] + OLD[4:7] + NEW[7:], OLD, "right size, the old content from byte 4 to 6"),
        (b"?" + NEW[1:], OLD, "right size, wrong from byte 0 on"),
        (NEW[:4] + b"??", OLD, "6 bytes, not 10, wrong from byte 4 on"),
    ],
)
def test_what_is_there_is_said(here, old, told):
    """Right, zeros, or what was there before: where each begins and ends."""
    assert described(here, NEW, old) == told


@given(
    st.binary(max_size=9),
    st.binary(max_size=9),
    st.binary(max_size=9) | st.none(),
    st.sampled_from([1, 4096]),
)
@example(b"", b"", None, 1)
@example(bytes(3), bytes(3), bytes(5), 4096)
def test_any_content_is_described_in_a_line(here, new, old, times):
    """Whatever is compared with whatever, at block ends too."""
    here, new, old = (None if one is None else one * times for one in (here, new, old))
    told = described(here, new, old)
    assert told
    assert "\n" not in told
    if here == new:
        assert told.startswith(f"{len(new)} of ")


def test_of_large_files_the_sizes_are_told(tmp_path):
    """None of them is read; and what is no file, or is not there, is no content to compare with."""
    here, whole, old = (tmp_path / name for name in ("here", "whole", "old"))
    for path, size in ((here, 1 << 23), (whole, 1 << 23)):
        path.touch()
        os.truncate(path, size)
    assert described_file(here, whole, old) == "right size, wrong content"
    os.truncate(here, 5)
    assert described_file(here, whole, old) == "5 of 8388608 bytes"
    whole.unlink()
    assert described_file(here, whole, old) == "5 bytes"
    whole.write_bytes(bytes(4))
    old.mkdir()
    assert described_file(here, whole, old) == "all 4 bytes, and 1 zero behind them"
