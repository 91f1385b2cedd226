"""Files that belong together: at a crash, readers find all of one version of them, or none."""

import pytest

from outlive_harness.disk.tree import Entry
from outlive_harness.golden.generations import Moment, _ends, _middle
from outlive_harness.judge.sets import FileSet, Version, mixed
from outlive_harness.results.scenario import ScenarioError, scenario
from outlive_harness.results.verdicts import Verdict


def files(text):
    """Read "a1 b2": file a has the content of version 1, file b that of version 2."""
    return {word[0]: word for word in text.split()}


def judged(text, *versions, declared="?"):
    """Judge a crash state of the files "a", "b", ... beside versions, the first from before the run."""
    one = FileSet(declared)
    known = [one.version(files(version), str) for version in versions]
    return mixed(one, files(text), known, str)


@pytest.mark.parametrize(
    ("here", "versions"),
    [
        ("", ("", "a1 b1")),  # none of it
        ("a1 b1", ("", "a1 b1")),  # all of it
        ("a0 b0", ("a0 b0", "a1 b1")),  # as before the run
        ("a1 b1", ("", "a1 b1", "a2 b2")),  # an earlier version
        ("a1 b0", ("a0 b0", "a1 b0")),  # a version need not change each file
        ("a1 b1", ("a0 b0 c0", "a1 b1")),  # nor have the same files
        ("a9 b1", ("", "a1 b1")),  # half-written, which is found apart
        ("a9 b1", ("a0 b0", "a1 b1")),
        ("a1 b1 z7", ("", "a1 b1")),  # a temporary file
    ],
)
def test_a_set_of_one_version_is_whole(here, versions):
    """Of any version, of that from before the run, or absent."""
    assert judged(here, *versions) is None


@pytest.mark.parametrize(
    ("here", "versions", "told"),
    [
        ("a1", ("", "a1 b1"), "a is of the version of the run, b is absent"),
        ("a1 b0", ("a0 b0", "a1 b1"), "a is of the version of the run, b is of the version from before"),
        ("a2 b1", ("", "a1 b1", "a2 b2"), "a is of version 2 of 2, b is of version 1 of 2"),
        ("a1 b2 c2", ("", "a1 b1 c1", "a2 b2 c2"), "a is of version 1 of 2, b, c are of version 2 of 2"),
        ("a1 b1 c0", ("a0 b0 c0", "a1 b1"), "c is of the version from before the run"),  # not removed yet
        ("b9", ("", "a1 b1 c1"), ""),  # nothing but a half-written file
    ],
)
def test_a_set_of_two_versions_is_not(here, versions, told):
    """The message names the files of each version, and those that are absent."""
    found = judged(here, *versions)
    if not told:
        assert found is None
    else:
        assert found.sentence.startswith("the files of ? belong together, and are not all of one version: ")
        assert told in found.sentence


@pytest.mark.parametrize(
    ("here", "versions", "is_whole"),
    [
        ("a1 b0", ("", "a1 b1 m1"), True),  # no mark: nobody looks
        ("a1 m1", ("", "a1 b1 m1"), False),
        ("m1", ("", "a1 b1 m1"), False),
        ("a1 b0 m0", ("a0 b0 m0", "a1 b1 m0"), False),  # the mark is the same each time
        ("a0 b0 c1 m0", ("a0 b0 m0", "a1 b1 c1 m0"), False),  # its readers look at all that is there
        ("a0 b0 c1 m0", ("a0 b0 m0", "a1 b1 c1 m1"), True),  # a manifest does not list what is new
        ("a1 b0 c1 m0", ("a0 b0 m0", "a1 b1 c1 m1"), False),  # one of those that it lists is
        ("a1 b1 m9", ("a0 b0 m0", "a1 b1 m1"), True),  # a half-written mark is found apart
    ],
)
def test_a_set_with_a_mark_counts_while_its_mark_is_there(here, versions, is_whole):
    """A mark that is another one in each version says which of them readers look for."""
    assert (judged(here, *versions, declared="[!m] if m") is None) is is_whole


def moments(*several):
    """Make moments of "a1 b1": each file is put in place, and stays; "-a" removes one, "a1+b1" is one op."""
    found, after = [], {}
    for word in " ".join(several).split():
        parts = word.split("+")
        after = {path: digest for path, digest in after.items() if f"-{path}" not in parts}
        after |= {part[0]: part for part in parts if not part.startswith("-")}
        found.append(Moment(frozenset(part.lstrip("-")[0] for part in parts), dict(after)))
    return found


@pytest.mark.parametrize(
    ("several", "versions"),
    [
        ("a1 b1", ["a1 b1"]),
        ("a1 b1 a2 b2 a3 b3", ["a1 b1", "a2 b2", "a3 b3"]),
        ("a1 b1 b2 a2", ["a1 b1", "a2 b2"]),  # in another order
        ("a1+b1 a2+b2", ["a1 b1", "a2 b2"]),  # a directory is swapped
        ("a1+b1 -b -a a2+b2", ["a1 b1", "", "a2 b2"]),  # a directory is emptied, file by file
        ("a1+b1 -a+-b c2+d2", ["a1 b1", "c2 d2"]),  # for one with other names
        ("a1 b1 c2 d2 -a -b", ["a1 b1", "c2 d2"]),
        ("a1 m1 b2 m2 c3 m3", ["a1 m1", "a1 b2 m2", "a1 b2 c3 m3"]),  # each time one more
        ("a1 b1 a2 b2 s1", ["a1 b1", "a2 b2 s1"]),  # the last one only at the very end
        ("", []),
    ],
)
def test_a_version_is_what_was_there_when_its_last_file_came(several, versions):
    """Which file is the last is seen from the run's end, or a version ends before a file comes again."""
    given = moments(several)
    found = [given[at].after for at in _ends(given)]
    if given and found[-1:] != [given[-1].after]:
        found.append(given[-1].after)  # what the run leaves is a version in any case
    assert found == [files(version) for version in versions]


def test_a_moment_with_a_file_that_is_not_whole_is_no_version():
    """It is in the middle of a write, and what the write makes comes later."""
    given = [Moment(frozenset("a"), {"a": "a1"}), Moment(frozenset("b"), {"a": "", "b": "b1"})]
    assert list(_middle(FileSet("?"), given)) == []


def test_files_are_found_by_the_paths_that_readers_use():
    """Behind a link too, each with its own path; and by the mark's pattern as by their own."""
    tree = {
        "now": Entry("link", 0, 0, "v/1"),
        "v": Entry("dir", 0o755, 0, ""),
        "v/1": Entry("dir", 0o755, 0, ""),
        "v/1/a": Entry("file", 0o644, 1, "x"),
        "ok": Entry("file", 0o644, 1, "y"),
    }
    found = FileSet("now/* if ok").found(tree, lambda _path: True)
    assert found == {"now/a": "v/1/a", "ok": "ok"}


def test_equal_names_of_a_version_are_kept_apart_by_their_number():
    """Files whose names differ only in a random part count as one name, with all their contents."""
    version = FileSet("*").version({"p-x": "2", "p-y": "1"}, lambda _path: "p-*")
    assert version == Version({"p-*": ("1", "2")}, {})


@pytest.mark.parametrize("value", ["/out/*", "a if /b", "a if ", 3])
def test_a_set_is_declared_by_patterns(value):
    """Each part is a pattern of paths relative to the box."""
    with pytest.raises(ScenarioError, match=r"^together="):
        scenario(command=["true"], together=value)


PAIR = """
def before():
    os.mkdir("out")
    for name in "ab":
        put("out/" + name, "0")

@scenario(outputs="out/*", together={together!r}, setup=before)
def pair():
    for version in "12":
        for name in "ab":
            Path("new").write_text(version)
            os.rename("new", "out/" + name)
"""


def test_files_that_are_renamed_one_by_one_are_of_two_versions_in_between(one):
    """The golden run tells three versions apart: that from before the run, and two that it makes."""
    result = one(PAIR.format(together="out/*"), explain="none")
    (found,) = result.violations
    assert (found.kind, found.path) == ("torn-output", "out/*")
    assert "out/a is of version 1 of 2, out/b is of the version from before the run" in found.message
    assert found.points == 6  # from each rename of out/a to that of out/b: three ops, twice


def test_a_set_of_nothing_is_an_error_of_use(one):
    """A pattern that no output matches would judge nothing."""
    result = one(PAIR.format(together="out/* if out/c"))
    assert result.verdict is Verdict.UNKNOWN
    assert result.reason.endswith("no output that the golden run found or left matches out/c")


def test_a_run_that_cannot_be_recorded_has_two_versions_and_says_so(one):
    """What it stores through memory is not seen, so the versions in between are listed as not judged."""
    source = """
import mmap

@scenario(outputs="out/*", together="out/*")
def pair():
    with open("scratch", "w+b") as scratch:
        scratch.truncate(4096)
        mmap.mmap(scratch.fileno(), 4096)[:1] = b"x"
    os.makedirs("out", exist_ok=True)
    for name in "ab":
        Path("new").write_text(name)
        os.rename("new", "out/" + name)
"""
    result = one(source, explain="none")
    assert [found.path for found in result.violations] == ["out/*"]
    (said,) = [item.why for item in result.not_judged if item.what == "out/*"]
    assert said.startswith("of its versions only the first and the last are known: what a power cut leaves")
