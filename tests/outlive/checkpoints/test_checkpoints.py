"""Checkpoints: a step is done if its marker says so, whole, and in no other case."""

# Names are compared as text.
# ruff: noqa: PTH208

import errno
import json
import os
import stat
import subprocess
import sys
import tempfile
from pathlib import Path

import pytest

import outlive
from outlive import Checkpoints, mark_done, step_done
from outlive._checkpoints import marker_files as _marker_files

NAMES = [
    "",
    " ",
    ".",
    "..",
    "../escape",
    "/etc/passwd",
    "a/b",
    "a\\b",
    "a\0b",
    "a\nb",
    "%",
    "%2f",
    "~",
    ".done",
    "clean.done",
    "clean",
    "Clean",
    "CLEAN",
    "é",
    "e\u0301",
    "日本",
    "\ud800",
    "\ud83d\ude00",
    "\U0001f600",
    "x" * 120,
    "x" * 121,
    "x" * 300,
    "x" * 300 + "y",
    "X" * 300,
    "nul",
]


@pytest.fixture
def checkpoints(tmp_path):
    """Give the checkpoints of a run without an id, in a directory that does not exist yet."""
    return Checkpoints(tmp_path / "marks")


def files_of(checkpoints):
    folder = Path(checkpoints.directory)
    return sorted(str(path.relative_to(folder)) for path in folder.rglob("*") if path.is_file())


def test_mark_and_clear(checkpoints):
    """A step is done from when it is marked until it is cleared; twice is as good as once."""
    assert not checkpoints.step_done("clean")
    for _ in range(2):
        checkpoints.mark_done("clean")
        assert checkpoints.step_done("clean")
    for _ in range(2):
        checkpoints.clear("clean")
        assert not checkpoints.step_done("clean")


def test_asking_makes_nothing(checkpoints, tmp_path):
    """To ask, to list and to clear leave no trace on the disk."""
    assert not checkpoints.step_done("clean")
    assert checkpoints.done() == []
    checkpoints.clear("clean")
    checkpoints.clear()
    assert os.listdir(tmp_path) == []


def test_markers_can_be_read_and_found(tmp_path):
    """A plain name gives a plain file that holds one line of JSON, the same bytes in each run."""
    Checkpoints(tmp_path).mark_done("clean")
    Checkpoints(tmp_path, run_id="monday").mark_done("clean")
    assert (tmp_path / "clean.done").read_text() == '{"schema": 1, "run_id": "", "step": "clean"}\n'
    named = tmp_path / "monday" / "clean.done"
    assert json.loads(named.read_text()) == {"schema": 1, "run_id": "monday", "step": "clean"}
    assert sorted(os.listdir(tmp_path)) == ["clean.done", "monday"]


def test_runs_know_nothing_of_one_another(tmp_path):
    """A step that is done in one run is not done in another, and clearing one run leaves the other."""
    runs = [Checkpoints(tmp_path, run_id=run) for run in ("", "1", "2", "1.done")]
    for number, run in enumerate(runs):
        assert [other.step_done("clean") for other in runs] == [True] * number + [False] * (4 - number)
        run.mark_done("clean")
    runs[0].clear()
    assert [run.done() for run in runs] == [[], ["clean"], ["clean"], ["clean"]]


def test_parts_do_not_run_together(tmp_path):
    """Step a of run b_c is not step a_b of run c, nor any other split of the same letters."""
    splits = [("a_b_c"[:cut], "a_b_c"[cut:]) for cut in range(6)]
    splits += [("a", "b_c"), ("a_b", "c"), ("a/b", "c"), ("b", "a/b")]
    for name, run in splits:
        Checkpoints(tmp_path, run_id=run).mark_done(name)
    for name, run in splits:
        assert name in Checkpoints(tmp_path, run_id=run).done()
    assert len(list(tmp_path.rglob("*.done"))) == len(set(splits))


@pytest.mark.parametrize("run_id", ["", "../run"])
def test_any_string_is_a_name(tmp_path, run_id):
    """Each odd name has one marker of its own, inside the directory, and is listed as it was given."""
    checkpoints = Checkpoints(tmp_path / "marks", run_id=run_id)
    for number, name in enumerate(NAMES):
        assert not checkpoints.step_done(name)
        checkpoints.mark_done(name)
        assert checkpoints.step_done(name)
        assert len(files_of(checkpoints)) == number + 1
    assert checkpoints.done() == sorted(NAMES)
    assert os.listdir(tmp_path) == ["marks"]
    names = [Path(path).name for path in files_of(checkpoints)]
    assert len({name.lower() for name in names}) == len(NAMES)
    assert all(name.isascii() and len(name) <= 125 and not name.startswith(".") for name in names)


def test_shortened_name_cannot_be_forged(checkpoints):
    """A step whose name is the file name of a long one's marker has another marker."""
    checkpoints.mark_done("x" * 300)
    forged = Path(*files_of(checkpoints)).stem
    assert len(forged) == 120
    assert not checkpoints.step_done(forged)
    checkpoints.mark_done(forged)
    assert checkpoints.done() == sorted(["x" * 300, forged])


def test_any_string_is_a_run_id(tmp_path):
    """Each odd run id has a place of its own, and no run's directory is a step's marker."""
    for run in NAMES:
        checkpoints = Checkpoints(tmp_path / "marks", run_id=run)
        assert checkpoints.done() == []
        checkpoints.mark_done("clean")
    for name in NAMES:
        Checkpoints(tmp_path / "marks").mark_done(name)
    for run in NAMES:
        assert Checkpoints(tmp_path / "marks", run_id=run).done() == (["clean"] if run else sorted(NAMES))
    assert os.listdir(tmp_path) == ["marks"]


def test_damaged_marker_is_not_done(checkpoints):
    """A marker that is cut, changed or not a plain file is not done, and marking repairs a file."""
    checkpoints.mark_done("clean")
    marker = Path(checkpoints.directory, "clean.done")
    whole = marker.read_bytes()
    damaged = [whole[:cut] for cut in range(len(whole))]
    damaged += [whole + b"\n", whole * 2, b"\0" * len(whole), whole.replace(b"clean", b"Clean"), b"\xff"]
    damaged += [
        whole.replace(b'"schema": 1', b'"schema": 2'),
        b"null\n",
        b"[" * 100_000,
        b"{}",
        b'{"step": 1}',
    ]
    for content in damaged:
        marker.write_bytes(content)
        assert not checkpoints.step_done("clean")
        assert checkpoints.done() == []
    checkpoints.mark_done("clean")
    assert marker.read_bytes() == whole
    assert checkpoints.done() == ["clean"]


def test_marker_of_another_step_is_not_done(tmp_path):
    """A marker copied to another step or another run speaks for neither."""
    first, second = Checkpoints(tmp_path, run_id="1"), Checkpoints(tmp_path, run_id="2")
    first.mark_done("clean")
    second.mark_done("load")
    content = (tmp_path / "1" / "clean.done").read_bytes()
    (tmp_path / "1" / "load.done").write_bytes(content)
    (tmp_path / "2" / "clean.done").write_bytes(content)
    assert not first.step_done("load")
    assert not second.step_done("clean")
    assert first.done() == ["clean"]
    assert second.done() == ["load"]


@pytest.mark.parametrize("kind", ["directory", "fifo", "link", "dangling link"])
def test_what_is_no_file_is_not_done(checkpoints, tmp_path, kind):
    """What is no plain file is never taken for a marker, never waited for, and never replaced."""
    checkpoints.mark_done("other")
    marker = Path(checkpoints.directory, "clean.done")
    whole = '{"schema": 1, "run_id": "", "step": "clean"}\n'
    outside = tmp_path / "outside"
    if kind == "directory":
        marker.mkdir()
    elif kind == "fifo":
        os.mkfifo(marker)
    else:
        marker.symlink_to(outside)
    if kind == "link":
        outside.write_text(whole)
    assert not checkpoints.step_done("clean")
    assert checkpoints.done() == ["other"]
    error = IsADirectoryError if kind == "directory" else OSError
    for change in (checkpoints.mark_done, checkpoints.clear):
        with pytest.raises(error, match="name='clean' cannot be marked or cleared") as caught:
            change("clean")
        assert caught.value.filename == str(marker)
        assert caught.value.errno in (errno.EISDIR, errno.EINVAL)
    assert outside.exists() == (kind == "link")
    checkpoints.clear()
    assert os.listdir(checkpoints.directory) == ["clean.done"]


def test_foreign_files_are_ignored(checkpoints):
    """What other programs, editors or a killed run leave in the directory is not listed and not removed."""
    checkpoints.mark_done("clean")
    folder = Path(checkpoints.directory)
    foreign = [".clean.done.abcdefgh.outlive-tmp", "notes.txt", "clean", "clean.done~", ".gitignore"]
    for name in foreign:
        (folder / name).write_text('{"schema": 1, "run_id": "", "step": "x"}\n')
    (folder / "sub").mkdir()
    (folder / "sub" / "deep.done").write_text("x")
    assert checkpoints.done() == ["clean"]
    checkpoints.clear()
    assert sorted(os.listdir(folder)) == sorted([*foreign, "sub"])
    assert (folder / "sub" / "deep.done").exists()


def test_clear_all_removes_damaged_markers(checkpoints):
    """To clear a run removes its markers, damaged ones too."""
    checkpoints.mark_done("clean")
    checkpoints.mark_done("load")
    Path(checkpoints.directory, "load.done").write_text("")
    checkpoints.clear()
    assert os.listdir(checkpoints.directory) == []


def test_two_processes_clear_at_once(monkeypatch, checkpoints):
    """A marker that another process removes at the same moment is no error."""
    checkpoints.mark_done("clean")
    unlink = os.unlink

    def too_late(path):
        unlink(path)
        unlink(path)

    monkeypatch.setattr(os, "unlink", too_late)
    checkpoints.clear()
    assert checkpoints.done() == []


@pytest.mark.parametrize("run_id", ["", "run"])
def test_file_where_the_directory_should_be(tmp_path, run_id):
    """A file in the directory's place, or in the run's, is named by each call and is not touched."""
    place = tmp_path / "marks" / run_id if run_id else tmp_path / "marks"
    place.parent.mkdir(exist_ok=True)
    place.write_text("precious")
    checkpoints = Checkpoints(tmp_path / "marks", run_id=run_id)
    calls = [
        lambda: checkpoints.step_done("clean"),
        lambda: checkpoints.mark_done("clean"),
        lambda: checkpoints.clear("clean"),
        checkpoints.clear,
        checkpoints.done,
    ]
    for call in calls:
        with pytest.raises(NotADirectoryError, match=r"^.{11}directory=.* cannot hold checkpoints") as caught:
            call()
        assert (caught.value.errno, caught.value.filename) == (errno.ENOTDIR, str(place))
    assert place.read_text() == "precious"


def test_parent_of_the_directory_must_exist(tmp_path):
    """The directory is made, its parents are not: the error says which to create."""
    checkpoints = Checkpoints(tmp_path / "no" / "marks")
    assert not checkpoints.step_done("clean")
    with pytest.raises(FileNotFoundError, match="create that first") as caught:
        checkpoints.mark_done("clean")
    assert caught.value.filename == str(tmp_path / "no")
    assert os.listdir(tmp_path) == []


def test_bad_arguments(tmp_path):
    """What is no path or no string is refused by the argument's name."""
    checkpoints = Checkpoints(tmp_path)
    for call in (checkpoints.step_done, checkpoints.mark_done, checkpoints.clear):
        with pytest.raises(TypeError, match=r"^name=3 is not a string"):
            call(3)
    for bad in (None, b"clean", Path("clean")):
        with pytest.raises(TypeError, match=r"^name="):
            checkpoints.step_done(bad)
    with pytest.raises(TypeError, match=r"^run_id=3 is not a string"):
        Checkpoints(tmp_path, run_id=3)
    with pytest.raises(TypeError, match=r"^run_id=None is not a string"):
        step_done("clean", run_id=None)
    with pytest.raises(TypeError, match=r"^directory=3 is not a path"):
        Checkpoints(3)
    with pytest.raises(ValueError, match=r"^directory='' is empty"):
        Checkpoints("")
    assert os.listdir(tmp_path) == []


def test_directory_is_resolved_once(monkeypatch, tmp_path):
    """A later chdir does not move the checkpoints of an object that exists."""
    (tmp_path / "elsewhere").mkdir()
    monkeypatch.chdir(tmp_path)
    checkpoints = Checkpoints()
    monkeypatch.chdir("elsewhere")
    checkpoints.mark_done("clean")
    assert os.listdir(tmp_path / ".checkpoints") == ["clean.done"]
    assert repr(checkpoints) == f"Checkpoints({str(tmp_path / '.checkpoints')!r}, run_id='')"


def test_functions_use_the_directory_where_they_are_called(monkeypatch, tmp_path):
    """step_done and mark_done mean `.checkpoints` of the directory that is current when they are called."""
    for name in ("first", "second"):
        (tmp_path / name).mkdir()
    monkeypatch.chdir(tmp_path / "first")
    mark_done("clean")
    mark_done("clean", run_id="monday")
    assert step_done("clean")
    assert not step_done("clean", run_id="tuesday")
    monkeypatch.chdir(tmp_path / "second")
    assert not step_done("clean")
    assert not step_done("clean", run_id="monday")
    assert files_of(Checkpoints(tmp_path / "first" / ".checkpoints")) == ["clean.done", "monday/clean.done"]


@pytest.fixture
def synced(monkeypatch):
    """Give the list of directories (their inodes) and contents of files that were fsynced."""
    seen = []
    fsync = os.fsync

    def record(descriptor):
        status = os.fstat(descriptor)
        path = Path(f"/proc/self/fd/{descriptor}")
        seen.append(status.st_ino if stat.S_ISDIR(status.st_mode) else path.read_bytes())
        fsync(descriptor)

    monkeypatch.setattr(os, "fsync", record)
    return seen


@pytest.mark.parametrize("existing", [False, True])
def test_directories_and_markers_reach_the_disk(synced, tmp_path, existing):
    """Each directory's name is fsynced before the marker is, also one made by a run that was killed."""
    directory = tmp_path / "marks"
    if existing:
        (directory / "run").mkdir(parents=True)
    checkpoints = Checkpoints(directory, run_id="run")
    checkpoints.mark_done("clean")
    folders = [folder.stat().st_ino for folder in (tmp_path, directory, directory / "run")]
    assert synced == [*folders[:2], (directory / "run" / "clean.done").read_bytes(), folders[2]]
    synced.clear()
    checkpoints.clear()
    assert synced == folders[:0:-1]  # the markers are gone before their directory is


def test_marker_that_is_believed_is_on_the_disk(synced, checkpoints):
    """A killed run's markers are fsynced before the first counts, and not again unless they change."""
    names = ["clean", "join", "report"]
    for name in names:
        checkpoints.mark_done(name)
    folder = Path(checkpoints.directory).stat().st_ino
    restarted = Checkpoints(checkpoints.directory)
    synced.clear()
    assert not restarted.step_done("other")
    assert not synced
    assert all(restarted.step_done(name) for name in names * 2)
    assert synced == [folder]
    checkpoints.mark_done("join")  # by another process, which may yet be killed before its own fsync
    checkpoints.mark_done("late")
    synced.clear()
    assert all(restarted.step_done(name) for name in [*names, "late"] * 2)
    assert synced == [folder, folder]


def test_forgotten_twice_is_forgotten_on_the_disk(synced, checkpoints):
    """To clear what a killed run has just cleared is no reason to leave out the fsync."""
    checkpoints.clear("clean")
    assert not synced  # there is no directory
    checkpoints.mark_done("clean")
    Path(checkpoints.directory, "clean.done").unlink()
    for name in ("clean", None):
        synced.clear()
        checkpoints.clear(name)
        assert synced == [Path(checkpoints.directory).stat().st_ino]


def test_a_directory_that_is_removed_just_before_its_marker_is_made_anew(monkeypatch, checkpoints, finish):
    """As by `outlive state gc`, which removes empty ones."""
    write, removed = _marker_files.atomic_write, []

    def late(path, content):
        if not removed:
            removed.append(Path(path).parent)
            removed[0].rmdir()
        write(path, content)

    monkeypatch.setattr(_marker_files, "atomic_write", late)
    assert finish(checkpoints.items("fetch", ["a"])) == ["a"]
    assert finish(Checkpoints(checkpoints.directory).items("fetch", ["a"])) == []
    assert len(removed) == 1


DEVICES = ["con", "prn", "aux", "nul", "com0", "com9", "lpt0", "lpt9"]


@pytest.mark.parametrize("name", DEVICES)
def test_names_of_devices(tmp_path, name, finish):
    """No step, item or run makes a file that Windows takes for a device, whatever its suffix."""
    run = Checkpoints(tmp_path / "marks", run_id=name)
    others = [
        name.upper(),
        f"{name}.txt",
        f"{name}.",
        f"{name} ",
        f"%{ord(name[0]):02x}{name[1:]}",
        f"{name}1",
    ]
    for step in (name, *others):
        run.mark_done(step)
        assert finish(run.items(step, [name, *others])) == [name, *others]
    made = [path.name for path in (tmp_path / "marks").rglob("*")]
    assert made
    assert not [one for one in made if one.partition(".")[0].rstrip().lower() in DEVICES]
    assert Checkpoints(tmp_path / "marks").runs() == [name]
    assert sorted(run.done()) == sorted((name, *others))
    told = {(record["step"], record.get("item")) for record in run.records()}
    assert told == {(one, item) for one in (name, *others) for item in (None, name, *others)}


def test_clear_leaves_no_empty_directory(tmp_path, finish):
    """Neither that of a step's items nor that of a run; the markers' own stays, and what is not ours."""
    top = tmp_path / "marks"
    runs = [Checkpoints(top, run_id=run_id) for run_id in ("", "monday", "tuesday")]
    for run in runs:
        run.mark_done("step")
        for name in ("step", "others"):
            assert finish(run.items(name, ["a", "b"])) == ["a", "b"]
    (top / "tuesday" / "others.items" / "notes.txt").touch()
    for run in runs:
        run.clear("step")
    folders = ["monday", "monday/others.items", "others.items", "tuesday", "tuesday/others.items"]
    assert sorted(str(one.relative_to(top)) for one in top.rglob("*") if one.is_dir()) == folders
    for run in runs:
        run.clear()
    left = ["tuesday", "tuesday/others.items", "tuesday/others.items/notes.txt"]
    assert sorted(str(one.relative_to(top)) for one in top.rglob("*")) == left
    for run in runs:  # which knows the directories that it made
        run.mark_done("step")
        assert finish(run.items("step", ["a"])) == ["a"]
        assert Checkpoints(top, run_id=run.run_id).step_done("step")


def test_failed_write_marks_nothing(refuse_fsync, checkpoints):
    """A marker that cannot be brought to the disk is no marker."""
    checkpoints.mark_done("first")
    refuse_fsync(on_directory=False)
    with pytest.raises(OSError, match=r"clean\.done' was not written"):
        checkpoints.mark_done("clean")
    assert os.listdir(checkpoints.directory) == ["first.done"]


def test_directory_made_by_another_user():
    """Markers can be set in a directory whose parent may be passed through but not opened."""
    with tempfile.TemporaryDirectory() as name:
        parent = Path(name, "parent")
        marks = parent / "marks"
        marks.mkdir(parents=True)
        for folder, mode in ((Path(name), 0o755), (marks, 0o777), (parent, 0o311)):
            folder.chmod(mode)
        code = """
import json, os, sys, tempfile, outlive
if os.geteuid() == 0:
    os.setuid(65534)
for place in ("marks", "new"):
    try:
        outlive.Checkpoints(sys.argv[1] + "/" + place).mark_done("clean")
    except PermissionError as error:
        print(place, error.filename)
"""
        command = [sys.executable, "-I", "-c", code, str(parent)]
        done = subprocess.run(command, capture_output=True, text=True, timeout=60, check=True)
        parent.chmod(0o755)
        assert done.stdout == f"new {parent}\n"
        assert Checkpoints(marks).done() == ["clean"]
        assert os.listdir(parent) == ["marks"]


def test_functions_and_methods_agree(monkeypatch, tmp_path):
    """What the functions mark, the class of the same directory lists."""
    monkeypatch.chdir(tmp_path)
    outlive.mark_done("b")
    outlive.mark_done("a")
    assert Checkpoints(".checkpoints").done() == ["a", "b"]
    Checkpoints().clear("a")
    assert not outlive.step_done("a")
