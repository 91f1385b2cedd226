"""The record of a golden run: what it says of trees that trials left."""

import pytest

from outlive_harness.golden.record import Record
from outlive_harness.results.run_spec import RunSpec
from outlive_harness.world.box import Box


@pytest.mark.parametrize("ignore", [(), ("log",), ("cache*",), ("**/*.tmp", "deep/er"), ("deep/",)])
def test_a_whole_tree_without_what_is_ignored_is_the_tree_that_is_read_without_it(tmp_path, ignore):
    """One scan gives both, whether a pattern names a file, a directory, or a directory by a star."""
    box = Box(tmp_path)
    for path in ("log", "out", "cache1/x", "cache1/y/z", "a.tmp", "deep/b.tmp", "deep/er/c", "deep/er/d/e"):
        (box.path / path).parent.mkdir(parents=True, exist_ok=True)
        (box.path / path).write_text(path)
    (box.path / "twin").hardlink_to(box.path / "log")
    record = Record(RunSpec("one", ("true",), "", ignore=ignore), tmp_path)
    whole = box.look(record.spec, whole=True)
    assert record.compared(whole) == box.look(record.spec)
    assert (record.compared(whole) == whole) == (not ignore)
