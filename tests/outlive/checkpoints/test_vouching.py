"""Markers that vouch for outputs, parameters and versions; and items of a step."""

import errno
import os
import tempfile
import time
from pathlib import Path
from types import SimpleNamespace
from unittest import mock

import pytest

from outlive import Checkpoints, atomic_open, atomic_write, mark_done, run_steps, step, step_done
from outlive._checkpoints import file_facts as _file_facts

OUT = "out/clean.csv"


@pytest.fixture
def run(tmp_path, monkeypatch):
    """A run in an empty directory, with one output."""
    monkeypatch.chdir(tmp_path)
    Path("out").mkdir()
    Path(OUT).write_text("a,b\n" * 1000)
    return Checkpoints()


def later(path):
    """Set a file's time to just after now, as a write would a moment later."""
    status = Path(path).stat()
    os.utime(path, ns=(status.st_atime_ns, status.st_mtime_ns + 10**9))


def wait_for_the_clock():
    """Let more pass than a tick of the kernel's clock: equal times count as later."""
    time.sleep(0.02)


def test_a_marker_without_declarations_is_what_it_was(run):
    """Byte for byte, so that runs of earlier versions go on."""
    run.mark_done("clean")
    marker = Path(".checkpoints/clean.done")
    assert marker.read_bytes() == b'{"schema": 1, "run_id": "", "step": "clean"}\n'
    assert run.step_done("clean")
    assert run.why("clean") == "clean will not run: it is done"


def test_equal_runs_leave_equal_markers(run, tmp_path):
    """Nothing of time or place is in them."""
    run.mark_done("clean", outputs=[OUT], params={"b": [1], "a": None}, version="2")
    first = Path(".checkpoints/clean.done").read_bytes()
    os.utime(OUT, ns=(0, 0))
    run.mark_done("clean", outputs=[tmp_path / OUT], params={"a": None, "b": [1]}, version="2")
    assert Path(".checkpoints/clean.done").read_bytes() == first


@pytest.mark.parametrize("verify", ["stat", "hash"])
@pytest.mark.parametrize("named", [True, False])
def test_an_output_that_is_not_what_it_was_is_not_done(run, verify, named):
    """Missing, truncated, altered in place with the same size: whether or not it is named again."""
    wish = {"verify": verify} | ({"outputs": [OUT]} if named else {})
    run.mark_done("clean", outputs=[OUT])
    assert run.step_done("clean", **wish)
    Path(OUT).write_text("a,b\n" * 999 + "x,b\n")
    assert run.why("clean", **wish) == f"clean will run: its output {OUT} has another content"
    os.truncate(OUT, 10)
    assert run.why("clean", **wish).endswith("has 10 bytes and had 4000 when the step was marked")
    Path(OUT).unlink()
    assert run.why("clean", **wish) == f"clean will run: its output {OUT} is missing"
    Path(OUT).mkdir()
    assert run.why("clean", **wish).endswith("is a directory and was a file")
    assert not run.step_done("clean", **wish)


@pytest.mark.parametrize(
    ("change", "how"),
    [
        (os.mkfifo, "is neither a file nor a directory and was a file"),
        (lambda path: path.symlink_to(path), "is a link that leads round in a circle"),
    ],
)
def test_what_is_no_file_any_more_is_not_done(run, change, how):
    """A pipe and a link to itself: why() says so, and no error stops who asks, nor a step before."""
    first = step(name="first")(lambda: None)
    clean = step(name="clean", outputs=OUT, after=first)(lambda: atomic_write(OUT, "1"))
    run_steps([first, clean], checkpoints=run, report=str)
    Path(OUT).unlink()
    change(Path(OUT).absolute())
    assert run.why("clean").startswith(f"clean will run: its output {OUT} {how}")
    run.clear("first")
    clean = step(name="clean", after=first)(lambda: None)
    results = run_steps([first, clean], checkpoints=run, report=str)
    assert results[1] == ("clean", "ran", "first ran")


def test_an_output_that_was_only_touched_is_done(run):
    """A time that is later asks for the digest, and that decides."""
    run.mark_done("clean", outputs=OUT)
    later(OUT)
    assert run.step_done("clean", outputs=OUT)


def test_what_sets_times_back_is_read(run):
    """As cp -p does: nobody sets the time of change back."""
    run.mark_done("clean", outputs=OUT)
    Path(OUT).write_text("x,y\n" * 1000)
    os.utime(OUT, ns=(0, 0))
    for verify in ("stat", "hash"):
        assert not run.step_done("clean", outputs=OUT, verify=verify)


def an_older_file(_run):
    Path("older").rename(OUT)


def an_older_tree(_run):
    Path("tree").rename("removed")
    Path("older_tree").rename("tree")


def a_link_that_is_turned(_run):
    Path("link").unlink()
    Path("link").symlink_to("older")


def a_link_above_that_is_turned(_run):
    Path("above").unlink()
    Path("above").symlink_to("older_tree")


@pytest.mark.parametrize(
    ("output", "change"),
    [
        (OUT, an_older_file),
        ("tree", an_older_tree),
        ("link", a_link_that_is_turned),
        ("above/1", a_link_above_that_is_turned),
    ],
)
def test_what_is_put_in_an_outputs_place_is_read_however_old_it_is(run, output, change):
    """A rename of an older file or tree over it, and a link that leads elsewhere: sizes are the same."""
    Path("older").write_text("x,y\n" * 1000)
    for number, name in enumerate(("tree", "older_tree")):
        Path(name).mkdir()
        Path(name, "1").write_text(str(number))
    Path("link").symlink_to(OUT)
    Path("above").symlink_to("tree")
    wait_for_the_clock()
    run.mark_done("clean", outputs=output)
    wait_for_the_clock()
    assert run.step_done("clean")
    change(run)
    assert run.why("clean") == f"clean will run: its output {output} has another content"


def test_a_file_that_was_begun_before_the_mark_and_published_after_it_is_read(run):
    """Its content is older than the mark, its place is not."""
    with atomic_open(OUT, "w") as file:
        file.write("x,y\n" * 1000)
        file.flush()
        wait_for_the_clock()
        run.mark_done("clean", outputs=OUT)
    assert not run.step_done("clean")


def test_an_output_that_was_changed_while_it_was_recorded_is_not_marked(run, monkeypatch):
    """Between its digest and its mark it became another: nobody could tell by its time."""
    Path("out/last").write_text("1")
    digest = _file_facts.digest_of_file

    def meanwhile(path):
        if path.endswith("last"):
            atomic_write(OUT, "x,y\n" * 1000)
        return digest(path)

    wait_for_the_clock()
    monkeypatch.setattr(_file_facts, "digest_of_file", meanwhile)
    with pytest.raises(RuntimeError, match=r"^outputs='out/clean.csv' changed before the step could be"):
        run.mark_done("clean", outputs=[OUT, "out/last"])
    assert not run.step_done("clean")


@pytest.mark.parametrize("store", ["files", "sqlite"])
def test_an_output_that_was_changed_while_its_mark_was_written_is_not_marked(run, monkeypatch, store, finish):
    """Before the mark is there, and after the last look at the output: it would be older than the mark."""
    run = Checkpoints(store=store)
    assert finish(run.items("clean", ["item"])) == ["item"]
    put = run._store.put

    def late(*what):
        wait_for_the_clock()
        Path(OUT).write_text("BAD\n" * 1000)
        wait_for_the_clock()
        put(*what)

    monkeypatch.setattr(run._store, "put", late)
    with pytest.raises(RuntimeError, match=r"^outputs='out/clean\.csv' changed before the step could be"):
        run.mark_done("clean", outputs=OUT)
    assert list(Checkpoints(store=store).records()) == []


@pytest.mark.parametrize("change", ["an input of a step", "an output that is marked"])
def test_what_is_changed_within_a_second_of_a_file_system_that_counts_in_seconds(run, monkeypatch, change):
    """Its times are what they were, and so are its size and number: its content tells."""
    lstat = os.lstat

    def coarse(path, **options):
        status = lstat(path, **options)
        fields = {name: getattr(status, name) for name in ("st_mode", "st_ino", "st_dev", "st_size")}
        return SimpleNamespace(**fields, st_mtime_ns=10**18, st_ctime_ns=10**18)

    def work():
        if change == "an input of a step":
            Path("raw").write_text("2")

    Path("raw").write_text("1")
    monkeypatch.setattr(os, "lstat", coarse)
    if change == "an input of a step":
        with pytest.raises(RuntimeError, match="raw' changed before the step could be"):
            run_steps([step(name="work", inputs="raw")(work)], checkpoints=run, report=str)
        return
    digest = _file_facts.digest_of_file
    read = []

    def meanwhile(path):
        found = digest(path)
        read.append(path)
        if len(read) == 2:  # once for how it is before, once for the mark
            Path(OUT).write_text("BAD\n" * 1000)
        return found

    monkeypatch.setattr(_file_facts, "digest_of_file", meanwhile)
    with pytest.raises(RuntimeError, match="changed before the step could be"):
        run.mark_done("clean", outputs=OUT)


@pytest.mark.skipif(not os.path.isdir("/dev/shm"), reason="needs two file systems")  # noqa: PTH112
def test_the_clock_of_another_file_system_may_be_coarser(run):
    """An output there is read that seems to be written less than two seconds before its mark."""
    with tempfile.TemporaryDirectory(dir="/dev/shm") as other:
        if os.stat(other).st_dev == os.stat(".").st_dev:  # noqa: PTH116
            pytest.skip("needs two file systems")
        output = Path(other, "out")
        output.write_text("1")
        run.mark_done("clean", outputs=output)
        with mock.patch.object(_file_facts, "facts", side_effect=ZeroDivisionError):
            with pytest.raises(ZeroDivisionError):
                run.step_done("clean")
            marker = Path(".checkpoints/clean.done")
            os.utime(marker, ns=(0, marker.stat().st_mtime_ns + 2 * 10**9))
            assert run.step_done("clean")


def test_an_output_is_not_read_to_say_that_it_is_as_it_was(run, monkeypatch):
    """A file, a directory and what a link leads to: their times are enough."""
    Path("link").symlink_to("out")
    wait_for_the_clock()
    run.mark_done("clean", outputs=[OUT, "out", "link/clean.csv"])
    wait_for_the_clock()
    monkeypatch.setattr(_file_facts, "digest_of_file", None)
    assert run.step_done("clean", outputs=[OUT, "out", "link/clean.csv"])


@pytest.mark.parametrize("verify", ["stat", "hash"])
def test_an_input_that_cannot_be_looked_at_is_not_one_that_is_gone(run, verify):
    """A link to itself: that is an error, and no reason to believe the mark."""
    Path("raw").write_text("1")
    run.mark_done("clean", inputs="raw")
    Path("raw").unlink()
    assert run.step_done("clean", verify=verify)
    Path("raw").symlink_to("raw")
    with pytest.raises(OSError, match="raw") as caught:
        run.step_done("clean", verify=verify)
    assert caught.value.errno == errno.ELOOP


def test_an_input_that_cannot_be_read_is_not_an_empty_one(run, monkeypatch):
    """Of a directory below that refuses to be listed nothing is recorded."""
    Path("raw/closed").mkdir(parents=True)
    scandir = os.scandir

    def refusing(path):
        if str(path).endswith("closed"):
            raise PermissionError(errno.EACCES, "no", path)
        return scandir(path)

    monkeypatch.setattr(os, "scandir", refusing)
    with pytest.raises(PermissionError):
        run.mark_done("clean", inputs="raw")
    assert not run.step_done("clean")


def test_a_link_below_an_input_is_where_it_leads(run):
    """What is there is no part of the input; to turn the link is to change it."""
    Path("raw").mkdir()
    Path("far").write_text("1")
    Path("raw/link").symlink_to("../far")
    run.mark_done("clean", inputs="raw")
    Path("far").write_text("another")
    assert run.step_done("clean", verify="hash")
    Path("raw/link").unlink()
    Path("raw/link").symlink_to("../out")
    assert not run.step_done("clean", verify="hash")


@pytest.mark.parametrize("store", ["files", "sqlite"])
@pytest.mark.parametrize(
    ("then", "now"), [(1, True), (1, 1.0), (0, False), ([1], [True]), ({"a": 0}, {"a": 0.0})]
)
def test_parameters_that_python_takes_for_equal(run, store, then, now):
    """They are compared as JSON has them, also inside lists and mappings."""
    run = Checkpoints(store=store)
    run.mark_done("clean", params={"x": then})
    assert run.step_done("clean", params={"x": then})
    assert run.why("clean", params={"x": now}).startswith("clean will run: its parameter x was")


@pytest.mark.parametrize("field", ["inputs", "outputs"])
@pytest.mark.parametrize("path", [".", ".checkpoints", ".checkpoints/marks.sqlite"])
def test_the_file_of_the_sqlite_store_is_never_read_for_a_mark(run, field, path):
    """To close it would drop the locks that SQLite holds (fcntl(2))."""
    run = Checkpoints(store="sqlite")
    run.mark_done("first")
    with pytest.raises(ValueError, match=rf"^directory='.*' of the checkpoints lies inside {field}='{path}'"):
        run.mark_done("clean", **{field: path})
    assert run.done() == ["first"]


def test_an_input_that_holds_the_marks_is_refused(run):
    """Each mark would change it, so that the step is never done."""
    with pytest.raises(ValueError, match=r"lies inside inputs='\.'"):
        run.mark_done("clean", inputs=".")
    with pytest.raises(ValueError, match=r"lies inside inputs='\.'"):
        run.items("clean", ["a"], inputs=".")


def test_each_name_that_leads_to_an_output_is_brought_to_the_disk_once(run, monkeypatch):
    """Of directories above it up to that of the marks, and of links on the way."""
    Path("a/b").mkdir(parents=True)
    for name in ("one", "two"):
        Path("a/b", name).write_text("1")
    Path("links").mkdir()
    Path("links/link").symlink_to("../a/b")
    run.mark_done("first")
    synced, fsync = [], os.fsync

    def noted(descriptor):
        synced.append(Path(f"/proc/self/fd/{descriptor}").readlink())
        fsync(descriptor)

    monkeypatch.setattr(os, "fsync", noted)
    run.mark_done("clean", outputs=["a/b/one", "links/link/two"])
    here = Path.cwd()
    before, _, _ = "".join(f"{path}\n" for path in synced).partition(f"{here}/.checkpoints")
    expected = [here / "a/b/one", here / "a/b/two", here / "links", here / "a/b", here / "a", here]
    assert sorted(before.splitlines()) == sorted(map(str, expected))


def test_the_verification_is_checked_also_where_nothing_is_to_be_verified(run):
    """A plain mark in the SQLite store is known at once; a word that is none is refused all the same."""
    run = Checkpoints(store="sqlite")
    run.mark_done("clean")
    with pytest.raises(ValueError, match=r"^verify='bogus' is not one of"):
        run.step_done("clean", verify="bogus")


def test_an_output_on_another_drive_has_its_whole_path(run):
    """As it is on Windows, where no path leads from one to the other."""
    with mock.patch.object(os.path, "relpath", side_effect=ValueError("path is on mount 'D:'")):
        run.mark_done("clean", outputs=OUT)
    assert list(next(run.records())["outputs"]) == [str(Path(OUT).absolute())]


@pytest.mark.parametrize(
    "change",
    [
        lambda top: (top / "b" / "1").write_text("2"),
        lambda top: (top / "b" / "2").write_text(""),
        lambda top: (top / "a").unlink(),
        lambda top: (top / "link").unlink() or (top / "link").symlink_to("b"),
        lambda top: (top / "a").rename(top / "c"),
    ],
)
def test_a_directory_is_an_output_with_all_that_is_below(run, tmp_path, change):
    """A content, a name, a link more or less makes it another."""
    top = tmp_path / "out" / "tree"
    (top / "b").mkdir(parents=True)
    (top / "a").write_text("")
    (top / "b" / "1").write_text("1")
    (top / "link").symlink_to("a")
    run.mark_done("parts", outputs=top)
    assert run.step_done("parts", outputs=top, verify="hash")
    assert run.step_done("parts")
    change(top)
    for path in (top, top / "b"):
        later(path)
    for verify in ("stat", "hash"):
        assert not run.step_done("parts", verify=verify)


@pytest.mark.parametrize(
    ("then", "now", "why"),
    [
        ({"params": {"limit": 3}}, {"params": {"limit": 4}}, "its parameter limit was 3 and is 4"),
        ({"params": {"limit": 3}}, {"params": {}}, "its parameter limit was 3 and is not given"),
        ({"params": {}}, {"params": {"x": None}}, "its parameter x was not given and is None"),
        ({}, {"params": {}}, "no parameters were recorded when it was marked"),
        ({"version": "1"}, {"version": "2"}, "its version was '1' and is '2'"),
        ({}, {"version": "1"}, "its version was None and is '1'"),
        ({}, {"outputs": [OUT]}, f"its outputs were [] and are ['{OUT}']"),
        ({"outputs": [OUT]}, {"outputs": []}, f"its outputs were ['{OUT}'] and are []"),
        ({"params": {"x": "a" * 200}}, {"params": {"x": "a" * 199 + "b"}}, "its parameter x was"),
    ],
)
def test_what_is_declared_otherwise_is_another_step(run, then, now, why):
    """And the sentence says in what."""
    run.mark_done("clean", **then)
    assert not run.step_done("clean", **now)
    assert run.why("clean", **now).startswith(f"clean will run: {why}")


def test_a_path_that_goes_up_from_a_link_is_the_file_that_it_leads_to(run, tmp_path):
    """As the system has it, and not the one that is there once name and ".." are crossed out."""
    (tmp_path / "disk" / "runs").mkdir(parents=True)
    Path("current").symlink_to("disk/runs")
    out, raw = "current/../made", "current/../raw"
    for path in ("made", "raw", out, raw):
        Path(path).write_text("1")
    run.mark_done("clean", inputs=raw, outputs=out)
    assert run.step_done("clean", inputs="disk/raw", outputs=f"{tmp_path}/disk/x/../made")
    Path(raw).write_text("2")
    assert run.why("clean") == "clean will run: its input disk/raw has another content"
    Path(raw).write_text("1")
    Path(out).unlink()
    assert run.why("clean", outputs=out) == "clean will run: its output disk/made is missing"
    declared = step(inputs=raw, outputs=out)(lambda: atomic_write(out, "3"))
    for outcome in ("ran", "skipped"):
        (result,) = run_steps([("declared", declared)], checkpoints=run, report=str)
        assert result.outcome == outcome


def test_what_is_not_asked_is_not_compared(run):
    """Parameters and version are the caller's to ask for."""
    run.mark_done("clean", params={"limit": 3}, version="7")
    assert run.step_done("clean")
    assert run.step_done("clean", params={"limit": 3})
    assert run.done() == ["clean"]


@pytest.mark.parametrize(
    ("marker", "why"),
    [
        (None, "it is not marked"),
        (b"", "its marker is damaged"),
        (b'{"schema": 1, "run_id": "", "step": "clean"', "its marker is damaged"),
        (b'{"schema": 1, "run_id": "x", "step": "clean"}\n', "its marker is damaged"),
        (b'{"schema": 1, "run_id": "", "step": "clean", "more": 1}\n', "its marker is damaged"),
        (b'{"schema": 1, "run_id": "", "step": "clean", "outputs": [1]}\n', "its marker is damaged"),
        (b'{"schema": 1, "run_id": "", "step": "clean", "outputs": {"out": [1]}}\n', "its marker is damaged"),
        (
            b'{"schema": 2, "run_id": "", "step": "clean"}\n',
            "its marker was written by a newer version of outlive (schema 2)",
        ),
        ("directory", "a directory stands where its marker should be"),
    ],
)
def test_a_marker_that_is_none_is_never_taken_for_done(run, marker, why):
    """And why() says what stands there."""
    Path(".checkpoints").mkdir()
    place = Path(".checkpoints/clean.done")
    if marker == "directory":
        place.mkdir()
    elif marker is not None:
        place.write_bytes(marker)
    assert not run.step_done("clean")
    assert run.why("clean") == f"clean will run: {why}"


def test_the_functions_take_the_same(run):
    """Of the module, for those who need no object."""
    mark_done("clean", run_id="monday", outputs=OUT, params={"a": 1}, version="1")
    assert step_done("clean", run_id="monday", outputs=OUT, params={"a": 1}, version="1", verify="hash")
    assert not step_done("clean", run_id="monday", version="2")
    assert run.done() == []


@pytest.mark.parametrize(
    ("wish", "error", "said"),
    [
        ({"outputs": 3}, TypeError, r"^outputs=3 is neither a path nor a list of paths"),
        ({"outputs": [3]}, TypeError, r"^outputs=3 is not a path"),
        ({"outputs": [""]}, ValueError, r"^outputs='' is empty"),
        ({"params": [1]}, TypeError, r"^params=\[1\] is not a mapping of names to values"),
        ({"params": {1: 1}}, TypeError, r"^params=\{1: 1\} is not a mapping of names to values"),
        (
            {"params": {"a": print}},
            TypeError,
            r"^params\['a'\]=<built-in function print> cannot be held",
        ),
        ({"params": {"a": float("nan")}}, TypeError, r"^params\['a'\]=nan cannot be held"),
        ({"version": 2}, TypeError, r"^version=2 is not a string"),
    ],
)
def test_bad_arguments_are_named(run, wish, error, said):
    """By both functions; nothing is marked."""
    for call in (run.mark_done, run.step_done, run.why):
        with pytest.raises(error, match=said):
            call("clean", **wish)
    assert not Path(".checkpoints").exists()
    with pytest.raises(ValueError, match=r"^verify='x' is not one of"):
        run.step_done("clean", verify="x")


def test_what_is_not_there_cannot_be_vouched_for(run):
    """An output that is missing, or no file, is an error, and the step not marked."""
    os.mkfifo("out/pipe")
    for path in ("out/none", "out/pipe"):
        with pytest.raises(OSError, match=path):
            run.mark_done("clean", outputs=[OUT, path])
    assert not run.step_done("clean")
