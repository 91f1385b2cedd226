"""The versions of files that belong together, learned from recorded ops."""

import pytest

from outlive_harness.disk.tree import digest_bytes, scan
from outlive_harness.golden import generations
from outlive_harness.golden.generations import learn_generations
from outlive_harness.golden.record import Record
from outlive_harness.results.ops import Op
from outlive_harness.results.run_spec import run_spec_of
from outlive_harness.results.scenario import scenario

TEXT = "out/*"


@pytest.fixture
def record(tmp_path):
    """Files of two versions that lie ready to be renamed, and an old version in place."""
    record = Record(run_spec_of(scenario(command=["x"], name="x", outputs="out/*", together=TEXT)), tmp_path)
    (record.template / "out").mkdir(parents=True)
    for name in ("out/a", "out/b"):
        (record.template / name).write_text("0")
    for version in "12":
        for name in "ab":
            (record.template / f"{name}{version}").write_text(version)
    record.initial = scan(record.template)
    record.final = {path: record.initial[f"{path[-1]}2"] for path in ("out/a", "out/b")}
    record.versions = {path: {digest_bytes(text) for text in (b"0", b"1", b"2")} for path in record.final}
    return record


def renames(*names):
    return [Op("rename", "rename", name, f"out/{name[0]}") for name in names]


def told(record, ops, why=""):
    """Return the versions, each as text, and why not all of them are known."""
    learn_generations(record, ops, b"", why)
    texts = {digest_bytes(text.encode()): text for text in "012"}
    found = [
        "".join(texts[digests[0]] for _, digests in sorted(version.files.items()))
        for version in record.generations[TEXT]
    ]
    return found, record.generations_unknown


def test_each_version_is_known_by_its_contents(record):
    """The first is that from before the run, the last what it leaves."""
    assert told(record, renames("a1", "b1", "a2", "b2")) == (["00", "11", "22"], "")


def test_a_file_in_the_middle_of_a_write_is_in_no_version(record):
    """A content that was never whole is that of no version; nor is a temporary file one of the set."""
    (record.template / "t").touch()
    temporary = Op("rename", "rename", "t", "out/.t")
    torn = Op("write", "write", "out/a", length=1, data=b"?")
    found, _ = told(record, [temporary, *renames("a1", "b1"), torn, *renames("b2", "a2")])
    assert found == ["00", "11", "22"]
    names = {name for version in record.generations[TEXT] for name in version.files}
    assert names == {"out/a", "out/b"}


@pytest.mark.parametrize("reason", ["it maps a file", "too many"])
def test_without_ops_the_first_and_the_last_are_known(record, monkeypatch, reason):
    """And why, so that the verdict can list it; likewise where there is too much to follow."""
    monkeypatch.setattr(generations, "_MOST", 10)
    found, why = told(record, renames("a1", "b1", "a2", "b2"), "" if reason == "too many" else reason)
    assert found == ["00", "22"]
    assert reason in why
