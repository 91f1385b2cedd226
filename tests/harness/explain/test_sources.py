"""Where ops come from: whatever makes the call, the line is the user's, or the command is the program's."""

import sys
import textwrap
from pathlib import Path

import pytest

import outlive
from outlive_harness.explain.causes import located
from outlive_harness.explain.frames import _FOLDED
from outlive_harness.explain.sources import followed
from outlive_harness.golden.record import Record
from outlive_harness.results.ops import Op
from outlive_harness.results.run_spec import run_spec_of
from outlive_harness.results.scenario import scenario
from outlive_harness.results.scenario_files import load_file
from outlive_harness.world.runner import Runner


def run_of(it, place):
    """Follow one run of a scenario."""
    runner = Runner(place / "w000")
    made = Record(run_spec_of(it), place / "record")
    made.trace.ops.append(Op("mkdir", "mkdir", "any"))  # a run without any op is not followed
    try:
        runner.prepare(made.spec, made.place / "template")
        return followed(runner, made)
    finally:
        runner.clear()


@pytest.fixture
def follow(tmp_path, monkeypatch):
    """Run a program, or a command, and return where each file's first op comes from, and each kind of op."""
    project = tmp_path / "project"
    project.mkdir()
    monkeypatch.chdir(project)

    def run(source, *, command=None, name="pipe.py", **more):
        (project / name).write_text(textwrap.dedent(source))
        argv = [sys.executable if word == "PYTHON" else word for word in command or ["PYTHON", "pipe.py"]]
        it = scenario(command=argv, name="it", **more)
        it.file = str(project / "it.py")
        run = run_of(it, tmp_path)
        found = {}
        for op, told in zip(run.ops, run.sources, strict=True):
            found.setdefault(op.path, told)
            found[op.kind, op.path] = told
        return found

    return run


def lines_of(source):
    """Return the line of each comment ``# NAME`` of a program."""
    lines = textwrap.dedent(source).splitlines()
    return {line.rpartition("# ")[2]: number for number, line in enumerate(lines, start=1) if "# " in line}


def leads(found):
    return {path: (source.lead.file, source.lead.line) for path, source in found.items() if source.lead}


CALLS = """
    import asyncio, io, os, sqlite3, threading

    class Path:
        def __fspath__(self):
            return str("callback")

    class Closing:
        def __del__(self):
            os.mkdir("deleted")  # deleted

    def name(text):
        return text

    def steps():
        os.mkdir("generator")  # generator
        yield 1

    def failing():
        raise ValueError

    def resumed():
        os.mkdir((yield) or "resumed")  # resumed

    async def coroutine():
        await asyncio.sleep(0)
        os.mkdir("awaited")  # awaited

    os.getpid()
    io.FileIO(name("type"), "w").close()  # type
    io.FileIO(Path(), "w").close()  # callback
    next(steps())
    list(resumed())
    try:
        failing()
    except ValueError:
        pass
    os.mkdir(name("unwound"))  # unwound
    list(map(os.mkdir, ["mapped"]))  # mapped
    sorted([2, 1], key=lambda _: os.makedirs("sorted", exist_ok=True) or 0)  # sorted
    it = Closing()
    del it
    with open("written", "w") as f:  # written
        f.write("x")
    asyncio.run(coroutine())
    database = sqlite3.connect("database")  # database
    database.execute("create table t (x)")
    database.close()
    thread = threading.Thread(target=lambda: os.mkdir("thread"))  # thread
    thread.start()
    thread.join()
    if not (child := os.fork()):
        os.mkdir("child")  # child
        os._exit(0)
    os.waitpid(child, 0)
    os.mkdir("parent")  # parent
"""


def test_an_op_is_told_by_the_line_that_its_thread_is_at(follow):
    """Of a C type, after a callback, in a generator, a finalizer, a thread, a fork: not an earlier one."""
    expected = {name: ("pipe.py", line) for name, line in lines_of(CALLS).items()}
    found = leads(follow(CALLS))
    assert {name: found.get(name) for name in expected} == expected


def test_what_is_written_when_the_program_ends_is_told_by_where_it_was_opened(follow):
    """A file that is never closed is flushed by the interpreter, when no line runs any more."""
    source = """
        import sys
        kept = sys.kept = open("late", "w")  # late
        kept.write("x")
        print("the last line")
    """
    assert leads(follow(source))["late"] == ("pipe.py", lines_of(source)["late"])


NATIVE = """
    import ctypes, os

    libc = ctypes.CDLL(None)
    thread = ctypes.c_ulong()
    os.getpid()

    def work():
        libc.pthread_create(ctypes.byref(thread), None, libc.rmdir, ctypes.c_char_p(b"native"))
        libc.pthread_join(thread, None)  # native

    os.mkdir("native")
    work()
"""


def test_a_native_thread_is_told_by_the_line_that_waits_for_it(follow):
    """It has no line in Python, and no process of ours is told in its place."""
    found, line = follow(NATIVE), lines_of(NATIVE)["native"]
    assert str(found["mkdir", "native"]) == "pipe.py:12"
    assert str(found["rmdir", "native"]) == f"pipe.py:{line} in work, in another thread"
    assert located(str(found["rmdir", "native"])) == ("pipe.py", line)


@pytest.fixture
def package(tmp_path, monkeypatch):
    """Install a package that makes a directory."""
    site = tmp_path / "lib" / "site-packages"
    (site / "acme").mkdir(parents=True)
    (site / "acme" / "__init__.py").write_text("import os\ndef save(name):\n    os.mkdir(name)\n")
    info = site / "acme_tools-1.2.dist-info"
    info.mkdir()
    (info / "METADATA").write_text("Metadata-Version: 2.1\nName: acme-tools\nVersion: 1.2\n")
    (info / "RECORD").write_text("acme/__init__.py,,\n")
    monkeypatch.setenv("PYTHONPATH", str(site))


@pytest.mark.usefixtures("package")
def test_the_line_of_a_package_stands_beside_the_users_own(follow):
    """In a pool's thread, which has none of the user's, that of the thread that waits for it is told."""
    source = """
        from concurrent.futures import ThreadPoolExecutor
        import acme
        def own():
            acme.save("direct")  # direct
        own()
        with ThreadPoolExecutor(1) as pool:
            pool.submit(acme.save, "pooled").result()  # pooled
    """
    found, lines = follow(source), lines_of(source)
    assert str(found["direct"]) == f"pipe.py:{lines['direct']} in own"
    assert str(found["pooled"]) == f"pipe.py:{lines['pooled']}, in another thread"
    for name in lines:
        within = found[name].within
        assert (str(within), within.package) == ("acme/__init__.py:3 in save", "acme-tools 1.2")
    assert [str(frame) for frame in found["direct"].stack if frame.is_own][1] == "pipe.py:6"


@pytest.mark.parametrize(
    "command",
    [
        ["PYTHON", "-I", "pipe.py"],
        ["PYTHON", "-ES", "-X", "utf8", "pipe.py"],
        ["sh", "-c", "PYTHON pipe.py"],
        ["PYTHON", "-c", "import subprocess, sys; subprocess.run([sys.executable, sys.argv[1]])", "pipe.py"],
    ],
)
def test_a_python_program_has_lines_however_it_is_started(follow, command):
    """By a shell, by another Python, and with options by which it looks at no variable."""
    place = Path.cwd() / "pipe.py"
    command = [word.replace("PYTHON pipe.py", f"{sys.executable} {place}") for word in command]
    assert str(follow("import os\nos.mkdir('here')\n", command=command)["here"]) == "pipe.py:2"


def test_a_program_that_a_thread_runs_is_told_by_that_threads_line(follow):
    """The main thread waits for the other, and that one for the program."""
    source = """
        import subprocess, threading
        def work():
            subprocess.run(["mkdir", "made"], check=True)  # made
        thread = threading.Thread(target=work)
        thread.start()
        thread.join()
    """
    assert str(follow(source)["made"]) == f"pipe.py:{lines_of(source)['made']} in work, running `mkdir made`"


def test_a_program_in_the_box_is_told_as_the_users_file(follow, tmp_path):
    """No box is there any more when the report is read."""
    (tmp_path / "project" / "steps").mkdir()
    found = follow(
        "import os\nos.mkdir('one')\nos.system('cp step.py two')\n",
        name="steps/step.py",
        command=["sh", "-c", f"{sys.executable} step.py"],
        input="steps",
    )
    assert str(found["one"]) == "steps/step.py:2"
    assert str(found["two"]).startswith("steps/step.py:3, running `cp ")


def test_a_scenarios_function_is_told_by_its_own_file(tmp_path, monkeypatch):
    """Neither what runs it for us, nor the interpreter's library, is told."""
    monkeypatch.chdir(tmp_path)
    (tmp_path / "it.py").write_text(
        "import ctypes, os\nfrom outlive_harness import scenario\n"
        "@scenario()\ndef it():\n    os.makedirs('a/b')\n    ctypes.CDLL(None).mkdir(b'c', 0o755)\n"
    )
    (it,) = load_file(tmp_path / "it.py")
    run = run_of(it, tmp_path)
    assert [str(source) for source in run.sources] == ["it.py:5 in it", "it.py:5 in it", "it.py:6 in it"]


def test_a_shell_is_told_by_the_command_that_it_opens_a_file_for(follow):
    """The shell makes that call before the command runs; the command is what is to be changed."""
    script = (
        "mkdir out; seq 9 > out/a; seq 9 >> out/b; echo x > out/c; (exec tac out/a > out/d); cp out/a e; "
    )
    script += ": > f; cp e f"
    found = follow(script, command=["sh", "make.sh"], name="make.sh")
    told = {path: str(source) for path, source in found.items() if isinstance(path, str)}
    assert told == {
        "out": "`mkdir out`",
        "out/a": "`seq 9 > out/a`",
        "out/b": "`seq 9 >> out/b`",
        "out/c": "`sh make.sh`",
        "out/d": "`tac out/a > out/d`",
        "e": "`cp out/a e`",
        "f": "`sh make.sh`",
    }


def test_frames_of_the_library_are_left_out():
    """In each of its packages; a program that lies in a directory of that name keeps its own."""
    library = Path(outlive.__file__).parent
    assert all(_FOLDED.search(str(path)) for path in library.rglob("*.py"))
    assert not any(map(_FOLDED.search, ("/home/me/outlive/pipeline.py", "/home/me/outlive/steps/clean.py")))
