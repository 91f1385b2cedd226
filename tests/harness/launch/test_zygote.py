"""The zygote: a trial that is forked is as one by exec, or it is not forked."""

import contextlib
import os
import signal
import subprocess
import sys
import textwrap
from pathlib import Path

import pytest

from outlive_harness.explore import case
from outlive_harness.jobs.session import Session
from outlive_harness.launch.zygote import Preload, Zygote, ZygoteError, installed_modules, own_sources, parse
from outlive_harness.results.verdicts import Verdict

#: Writes down all that a program can see of how it was started.
FACTS = """
import atexit, json, os, signal, sys, tempfile, threading, random
from pathlib import Path

def is_of_libffi(fd):  # which ctypes may keep open, in whatever has imported it
    link = "/proc/self/fd/" + fd
    return os.path.lexists(link) and "/libffi." in os.readlink(link)

def facts():
    open_files = [fd for fd in os.listdir("/proc/self/fd") if not is_of_libffi(fd)]
    return {
        "argv": sys.argv, "path": sys.path, "flags": list(sys.flags), "name": __name__,
        "file": globals().get("__file__"), "spec": str(globals().get("__spec__")).partition(" object at")[0],
        "cached": str(globals().get("__cached__")), "doc": __doc__, "orig": sys.orig_argv[1:],
        "globals": sorted(globals()), "is_main": sys.modules["__main__"].__dict__ is globals(),
        "cwd": os.getcwd(), "environ": dict(os.environ), "umask": os.umask(0o022),
        "fds": sorted(open_files)[:3], "open": len(open_files),
        "signals": [str(signal.getsignal(n)) for n in (2, 13, 15, 25, 29)],
        "mask": str(signal.pthread_sigmask(signal.SIG_BLOCK, ())), "thread": threading.current_thread().name,
        "threads": len(os.listdir("/proc/self/task")), "main": threading.main_thread().name,
        "stdin": sys.stdin.read(), "tty": [os.isatty(n) for n in range(3)],
        "buffering": [sys.stdout.line_buffering, sys.stderr.line_buffering], "encoding": sys.stdout.encoding,
        "session": os.getsid(0) == os.getpid(), "group": os.getpgrp() == os.getpid(), "nice": os.nice(0),
        "priority": sys.getswitchinterval(), "limit": sys.getrecursionlimit(), "trace": str(sys.gettrace()),
        "hook": str(sys.excepthook), "frames": len(__import__("inspect").stack()) > 0,
    }

def put(path, text):
    Path(path + ".t").write_text(text)
    os.replace(path + ".t", path)

os.makedirs("out", exist_ok=True)
put("out/facts", json.dumps(facts(), indent=1, sort_keys=True))
put("out/a", "a")
put("out/b", "b")
atexit.register(put, "out/exit", "atexit ran")
late = threading.Thread(target=lambda: (__import__("time").sleep(0.02), put("out/thread", "waited for")))
late.start()
print("printed and flushed at the end")
"""


def command(argv, **more):
    keywords = "".join(f", {key}={value!r}" for key, value in more.items())
    return f"made = scenario(command={argv!r}, outputs='out/*'{keywords})\n"


@pytest.fixture
def packages(tmp_path, monkeypatch):
    """A directory of installed packages, and workers that know of it."""
    place = tmp_path / "site-packages"
    place.mkdir()
    monkeypatch.setenv("PYTHONPATH", os.pathsep.join([str(place), str(tmp_path)]))
    with Session(jobs=1) as session:
        yield place, session


@pytest.fixture
def programs(tmp_path):
    """Where programs are written that are no scenario files."""
    place = tmp_path / "programs"
    place.mkdir()
    return place


def zygote_warnings(result):
    return [warning for warning in result.warnings if "zygote" in warning]


@pytest.mark.parametrize(
    "options", [[], ["-P"], ["-u", "-B"], ["-X", "utf8", "-W", "ignore"], ["-I"], ["-OO"]]
)
def test_a_script_sees_nothing_that_exec_would_not_show(one, programs, options):
    """Arguments, path, globals, descriptors, signals, threads, the interpreter's end: all is the same."""
    (programs / "facts.py").write_text(FACTS)
    result = one(command([sys.executable, *options, str(programs / "facts.py"), "x", "--y"]))
    assert not zygote_warnings(result)
    assert result.zygote
    assert result.verdict is Verdict.HELD, result


def test_a_module_and_a_text_are_run_as_python_runs_them(one, packages):
    """Both python -m and python -c have their own argv, path and globals."""
    place, session = packages
    (place / "facts_module.py").write_text(FACTS)
    for argv in ([sys.executable, "-m", "facts_module", "x"], [sys.executable, "-c", FACTS, "x"]):
        result = one(command(argv, name=argv[1]), within=session)
        assert not zygote_warnings(result)
        assert result.zygote


@pytest.mark.parametrize(
    ("end", "why"),
    [
        ("sys.exit('the last word')", "exited with 1: the last word"),
        ("raise ValueError('the last word')", "exited with 1: ValueError: the last word"),
        ("sys.exit(7)", "exited with 7"),
        ("sys.exit(-1)", "exited with 255"),
        ("sys.exit(True)", "exited with 1"),
        ("os.kill(os.getpid(), 9)", "was ended by signal 9"),
        ("raise KeyboardInterrupt", "was ended by signal 2"),
        ("os._exit(3)", "exited with 3"),
    ],
)
def test_a_run_ends_as_it_would(one, end, why):
    """A recovery that fails is told with its own status and last words."""
    result = one(
        f"""
@scenario(outputs="o")
def fails():
    found = Path("t").exists()
    Path("t").write_text("x")
    if found and not Path("o").exists():
        {end}
    for i in range(3):
        put("u", str(i))
    put("o", "x")
"""
    )
    assert result.zygote
    (violation,) = [found for found in result.violations if found.kind == "recovery-failed"]
    assert why in violation.message
    assert violation.confirmed


#: What programs leave to the end of the interpreter.
LEFT_TO_THE_END = {
    "files": "text = open('out/text', 'w'); text.write('?'); raw = open('out/raw', 'wb'); raw.write(b'?')",
    "file of a module": "import left_too",
    "file of a library": "import json; json.kept = open('out/text', 'w'); json.kept.write('?')",
    "file of a daemon": "text = open('out/text', 'w'); text.write('?')\n"
    "threading.Thread(target=beat, daemon=True).start()",
    "file of C": "C.fopen.restype = ctypes.c_void_p; C.fputs.argtypes = (ctypes.c_char_p, ctypes.c_void_p)\n"
    "C.fputs(b'?', C.fopen(b'out/text', b'w'))",
    "destructor": "late = Late()",
    "weak": "late = set(); weakref.finalize(Late, os.makedirs, 'out/weak')",
    "exit function": "atexit.register(os.makedirs, 'out/atexit')",
    "thread": "threading.Thread(target=lambda: (time.sleep(0.05), os.makedirs('out/thread'))).start()",
    "words": "sys.stdout.write('no end of line')",
}
_BEFORE = """
import atexit, ctypes, json, os, sys, threading, time, weakref
C = ctypes.CDLL(None)
class Late:
    def __init__(self): self.me = self
    def __del__(self): os.makedirs("out/destructor")
def beat():
    while True: time.sleep(0.001)
for name in "abcdef": os.makedirs(f"out/{name}", exist_ok=True)
"""


@pytest.mark.parametrize("left", LEFT_TO_THE_END)
def test_what_is_left_to_the_end_of_the_interpreter_is_done(one, programs, left):
    """Files that nobody closed, destructors, exit functions, threads: a trial ends as an exec does."""
    (programs / "left.py").write_text(_BEFORE + LEFT_TO_THE_END[left])
    (programs / "left_too.py").write_text("text = open('out/text', 'w')\ntext.write('?')\n")
    result = one(command([sys.executable, str(programs / "left.py")], faults=["kill"]))
    assert not zygote_warnings(result)
    assert result.zygote
    assert result.ops >= (7 if left == "words" else 8)


def test_a_traceback_begins_in_the_users_file(one, programs):
    """None of our frames stand before the user's."""
    (programs / "fails.py").write_text(
        textwrap.dedent(
            """
            import os, sys
            from pathlib import Path
            def deeper(): raise ValueError("here")
            if Path("t").exists() and not Path("o").exists(): deeper()
            Path("t").write_text("x")
            for i in range(6): Path(f"u{i}").write_text("")
            Path("o").write_text("x")
            """
        )
    )
    result = one(command([sys.executable, str(programs / "fails.py")]).replace("out/*", "o"))
    assert result.zygote
    detail = next(found.detail for found in result.violations if found.kind == "recovery-failed")
    lines = detail.splitlines()
    assert lines[0] == "Traceback (most recent call last):"
    assert lines[1].strip().startswith(f'File "{programs}/fails.py", line 5')
    assert "_zygote" not in detail


def test_random_numbers_are_of_each_process_own(one):
    """Two trials draw different numbers: what is nondeterministic by exec is so here."""
    result = one(
        """
@scenario(outputs="out/?", ignore="numbers")
def draws():
    import random, uuid
    with open("numbers", "a") as f:
        f.write(f"{random.random()} {uuid.uuid4()} {next(tempfile._get_candidate_names())}\\n")
    words = Path("numbers").read_text().split()
    assert len(set(words)) == len(words), words
    for name in "abc":
        put(f"out/{name}", name)
"""
    )
    assert result.zygote
    assert result.verdict is Verdict.HELD, result


def test_the_projects_own_code_is_read_anew(one, programs):
    """A module beside the script is imported in each trial, not once."""
    (programs / "helper.py").write_text(
        "from pathlib import Path\n"
        "count = len(list(Path('.').glob('import*')))\n"
        "Path(f'import{count}').write_text('')\n"
    )
    (programs / "script.py").write_text(
        "import helper, os\nfrom pathlib import Path\nos.makedirs('out', exist_ok=True)\n"
        "for i in range(4): Path(f'out/t').write_text(str(i)); os.replace('out/t', f'out/{i}')\n"
    )
    result = one(command([sys.executable, str(programs / "script.py")], ignore="import*"))
    assert result.zygote
    assert result.ops > 8
    assert result.verdict is Verdict.HELD, result


@pytest.mark.parametrize(
    "spoils", ["import threading, time; threading.Thread(target=time.sleep, args=(9,), daemon=True).start()",
               "kept = open('/dev/null')", "import signal; signal.signal(signal.SIGCHLD, signal.SIG_IGN)"],
)  # fmt: skip
def test_a_module_that_starts_threads_or_opens_files_is_left_out(one, programs, packages, spoils):
    """An installed package that does so on import is imported by each trial itself."""
    place, session = packages
    (place / "spoils.py").write_text(spoils + "\n")
    (place / "innocent.py").write_text("")
    (programs / "script.py").write_text(
        "import innocent, spoils, os\nfrom pathlib import Path\nos.makedirs('out', exist_ok=True)\n"
        "for i in range(4): Path(f'out/t').write_text(str(i)); os.replace('out/t', f'out/{i}')\n"
    )
    result = one(command([sys.executable, str(programs / "script.py")]), within=session)
    assert not zygote_warnings(result)
    assert result.zygote
    assert result.verdict is Verdict.HELD, result


def test_a_package_that_writes_on_import_switches_the_zygote_off(one, programs, packages):
    """Its ops are the pipeline's: imported beforehand they would be missing. It is said, and exec is used."""
    place, session = packages
    (place / "caches.py").write_text(
        "import os, pathlib\npathlib.Path(os.environ['HOME'], 'cache').write_text('x')\n"
    )
    (programs / "script.py").write_text(
        "import caches, os\nfrom pathlib import Path\nos.makedirs('out', exist_ok=True)\n"
        "for i in range(4): Path(f'out/t').write_text(str(i)); os.replace('out/t', f'out/{i}')\n"
    )
    result = one(command([sys.executable, str(programs / "script.py")]), within=session)
    assert not result.zygote
    assert len(zygote_warnings(result)) == 1
    assert result.verdict is Verdict.HELD, result


def test_what_only_the_zygote_shows_is_not_reported(one):
    """Each violation is confirmed by exec; where one is not, all is done again by exec, and that is said."""
    result = one(
        """
@scenario(outputs="out/*")
def moody():
    found = Path("t").exists()
    Path("t").write_text("x")
    for name in "abcd":
        put(f"out/{name}", name)
    if found and b"_zygote.py" in Path("/proc/self/cmdline").read_bytes():
        put("out/a", "wrong")
"""
    )
    assert result.verdict is Verdict.HELD, result
    assert not result.zygote
    assert len(zygote_warnings(result)) == 1


NEEDS = """
import os, sys
half = os.path.exists("out/.half")
if half:
    {asks}
os.makedirs("out", exist_ok=True)
open("out/.half", "w").close()
import xml.dom
for n in range(2):
    with open(f"out/p{{n}}.tmp", "w") as f:
        f.write("x")
    os.replace(f"out/p{{n}}.tmp", f"out/p{{n}}")
os.unlink("out/.half")
"""


@pytest.mark.parametrize("asks", ["sys.modules['xml.dom']", "__import__('xml').dom"])
def test_a_recovery_that_lives_on_what_was_imported_is_violated(one, programs, asks):
    """In the zygote it comes out well; a few recoveries are repeated by exec before that is believed."""
    (programs / "script.py").write_text(NEEDS.format(asks=asks))
    argv = [sys.executable, str(programs / "script.py")]
    result = one(command(argv, faults="kill").replace('"out/*"', '"out/p*"'))
    assert {one.kind for one in result.violations} == {"recovery-failed"}, result
    assert not result.zygote
    (warning,) = zygote_warnings(result)
    assert "by exec: the pipeline, run again after the crash, exited with 1" in warning


def test_a_doubter_gets_exec(one):
    """--no-zygote: each trial is an exec, and the verdict is the same."""
    source = """
@scenario(outputs="out/*")
def writes():
    assert b"_zygote.py" not in Path("/proc/self/cmdline").read_bytes()
    for name in "abcd":
        put(f"out/{name}", name)
"""
    result = one(source, zygote=False)
    assert (result.verdict, result.zygote) == (Verdict.HELD, False)


#: Says on its standard output which of the project's files it had to compile.
_TELLS = """
import sys
compiled = []
sys.addaudithook(lambda event, args: event == "compile" and compiled.append(str(args[1])))
try:
    import helper
except SyntaxError:
    helper = None
print(getattr(helper, "VALUE", None), [name.rpartition("/")[2] for name in compiled])
"""


def said(zygote, place):
    """Return what a trial prints, once it has ended."""
    child = zygote.start(cwd=place, intercept=False)
    assert child.reap(lambda: None) == 0
    os.set_blocking(child.stdout, True)
    text = os.read(child.stdout, 4096).decode()
    child.close()
    return text.strip()


def test_the_projects_own_files_are_compiled_once_and_again_when_they_change(tmp_path):
    """A trial runs the text that is there, and compiles it only if it is another than the zygote has seen."""
    script, helper = tmp_path / "script.py", tmp_path / "helper.py"
    script.write_text(_TELLS)
    helper.write_text("VALUE = 'first'\n")
    preload = Preload(sources=(str(script), str(helper), str(tmp_path / "gone.py")))
    env = {"PATH": os.environ["PATH"], "PYTHONDONTWRITEBYTECODE": "1"}
    with contextlib.closing(
        Zygote([sys.executable, str(script)], cwd=tmp_path, env=env, preload=preload)
    ) as zygote:
        assert said(zygote, tmp_path) == "first []"
        helper.write_text("VALUE = 'other'\n")
        assert said(zygote, tmp_path) == "other ['helper.py']"
        script.write_text(_TELLS.replace("print(", "print('new', "))
        assert said(zygote, tmp_path) == "new other ['helper.py']"


@pytest.mark.parametrize(
    ("text", "options"), [("VALUE = 1 is 1\n", []), ("VALUE = (\n", []), ("VALUE = 1\n", ["-W", "ignore"])]
)
def test_what_compiling_says_is_left_to_each_trial(tmp_path, text, options):
    """A warning or an error of the compiler is the trial's own, and so is what -W makes of it."""
    script, helper = tmp_path / "script.py", tmp_path / "helper.py"
    script.write_text(_TELLS)
    helper.write_text(text)
    preload = Preload(sources=(str(script), str(helper)))
    argv = [sys.executable, *options, str(script)]
    env = {"PATH": os.environ["PATH"], "PYTHONDONTWRITEBYTECODE": "1"}
    with contextlib.closing(Zygote(argv, cwd=tmp_path, env=env, preload=preload)) as zygote:
        assert "helper.py" in said(zygote, tmp_path)


@pytest.mark.parametrize("method", ["fork", "spawn", "forkserver"])
def test_processes_that_a_pipeline_starts_find_its_main_module(one, programs, method):
    """A child of multiprocessing starts from __main__ whichever way it was started."""
    (programs / "script.py").write_text(
        textwrap.dedent(
            f"""
            import multiprocessing, os
            from pathlib import Path
            def work(i):
                Path(f"out/.{{i}}").write_text(str(i)); os.replace(f"out/.{{i}}", f"out/{{i}}")
            if __name__ == "__main__":
                os.makedirs("out", exist_ok=True)
                context = multiprocessing.get_context("{method}")
                for i in range(2):
                    one = context.Process(target=work, args=(i,))
                    one.start(); one.join()
                    assert one.exitcode == 0
            """
        )
    )
    result = one(command([sys.executable, str(programs / "script.py")]), points=4)
    assert not zygote_warnings(result)
    assert result.verdict is Verdict.HELD, result


@pytest.mark.parametrize(
    ("argv", "expected"),
    [
        (["python3", "x.py", "-c"], ("file", "x.py", ("x.py", "-c"))),
        (["python3", "-Pu", "-W", "error", "x.py"], ("file", "x.py", ("x.py",))),
        (["python3", "-m", "tool", "a"], ("module", "tool", ("-m", "a"))),
        (["python3", "-c", "pass", "a"], ("code", "pass", ("-c", "a"))),
        (["python3", "-i", "x.py"], None),
        (["python3", "-x", "x.py"], None),
        (["python3", "-"], None),
        (["python3"], None),
        (["python3", "--help"], None),
        (["python3", "archive.zip"], None),
        (["sh", "x.py"], None),
    ],
)
def test_a_command_line_is_taken_apart_or_left_alone(argv, expected):
    """What is not understood is run by exec."""
    script = parse(argv)
    assert (script and (script.kind, script.target, script.argv)) == expected


def test_what_can_be_imported_beforehand_is_read_off_the_files_that_a_run_opened():
    """Installed modules by their files, in order; the project's own, data and the main module are none."""
    lib = "/usr/lib/python3.12"
    paths = [
        f"{lib}/__pycache__/csv.cpython-312.pyc",
        f"{lib}/lib-dynload/_csv.cpython-312-x86_64-linux-gnu.so",
        f"{lib}/json/__pycache__/__init__.cpython-312.opt-2.pyc",
        f"{lib}/json/decoder.py",
        "/home/me/.venv/lib64/python3.12/site-packages/pkg/__init__.py",
        "/home/me/.venv/lib64/python3.12/site-packages/pkg/fast.abi3.so",
        "/usr/lib/python3/dist-packages/apt_pkg.cpython-312-x86_64-linux-gnu.so",
        "/home/me/.venv/lib64/python3.12/site-packages/pkg-1.0.dist-info/METADATA",
        "/home/me/.venv/lib64/python3.12/site-packages/tool/__main__.py",
        "/home/me/project/helper.py",
        "/usr/lib/x86_64-linux-gnu/libc.so",
        f"{lib}/__pycache__/csv.cpython-312.pyc",
    ]
    found = ["csv", "_csv", "json", "json.decoder", "pkg", "pkg.fast", "apt_pkg"]
    told = installed_modules([sys.executable, "-m", "tool"], paths)
    assert list(told) == found
    assert (told["csv"], told["json"], told["_csv"]) == (lib, f"{lib}/json", f"{lib}/lib-dynload")
    assert list(installed_modules([sys.executable, "-m", "csv"], paths)) == [*found[1:], "tool.__main__"]
    assert "json.decoder" not in installed_modules([sys.executable, "-m", "json.tool"], paths)


RUNS = """
import json, os
from {own}state import STATE
os.makedirs("out", exist_ok=True)
with open("state.json", "w") as f:
    json.dump({{"n": 3}}, f)  # in place
for n in range(3):
    with open(f"out/p{{n}}.tmp", "w") as f:
        f.write("x")
    os.replace(f"out/p{{n}}.tmp", f"out/p{{n}}")
"""
STATE = "import json, os\nSTATE = json.load(open('state.json')) if os.path.exists('state.json') else {}\n"


@pytest.mark.parametrize("way", ["-m", "installed from a directory"])
def test_a_project_that_is_installed_is_run_in_each_trial(one, programs, packages, way):
    """What it reads on import, each recovery reads anew: the package that runs, and what no index gave."""
    place, session = packages
    own = place / "mypipe"
    own.mkdir()
    (own / "__init__.py").touch()
    (own / "state.py").write_text(STATE)
    if way == "-m":
        (own / "__main__.py").write_text(RUNS.format(own="."))
        argv = [sys.executable, "-m", "mypipe"]
    else:
        (place / "mypipe-1.0.dist-info").mkdir()
        (place / "mypipe-1.0.dist-info" / "direct_url.json").write_text("{}")
        (place / "mypipe-1.0.dist-info" / "RECORD").write_text("mypipe/__init__.py,,\nmypipe/state.py,,\n")
        (programs / "script.py").write_text(RUNS.format(own="mypipe."))
        argv = [sys.executable, str(programs / "script.py")]
    result = one(command(argv, faults="kill"), within=session)
    assert result.zygote
    assert {violation.kind for violation in result.violations} == {"recovery-failed"}


def test_a_script_that_is_named_as_an_interpreter_is_none(tmp_path):
    """What it does before Python, each trial must do, so that there is no zygote for it."""
    wrapper = tmp_path / "python3"
    wrapper.write_text('#!/bin/sh\nexec python3 "$@"\n')
    wrapper.chmod(0o755)
    link = tmp_path / "python-locked"
    link.symlink_to(sys.executable)
    assert parse([str(wrapper), "x.py"]) is None
    assert parse([str(link), "x.py"]) is None
    assert parse([sys.executable, "x.py"]) is not None


def test_a_module_is_not_mistaken_for_another_of_its_name(one, programs):
    """What the pipeline finds in a directory of its own is not what the interpreter finds without it."""
    vendored = programs / "vendor/site-packages"
    (vendored / "iniconfig").mkdir(parents=True)
    (vendored / "iniconfig/__init__.py").write_text("import csv\nVALUE = 'vendored'\n")
    (programs / "script.py").write_text(
        textwrap.dedent(
            f"""
            import sys
            sys.path.insert(0, {str(vendored)!r})
            import iniconfig, os, time
            os.makedirs("out", exist_ok=True)
            for name in "abc":
                # What only a trial shows, and what no output depends on.
                print(getattr(iniconfig, "VALUE", "mistaken"), file=open({str(programs / "seen")!r}, "a"))
                open("out/." + name, "w").write("x"); os.replace("out/." + name, "out/" + name)
            """
        )
    )
    result = one(command([sys.executable, str(programs / "script.py")]), points=4)
    assert result.zygote
    assert not zygote_warnings(result)
    assert set((programs / "seen").read_text().split()) == {"vendored"}


def test_what_can_be_compiled_beforehand_is_what_was_read_as_text():
    """The script and the project's own modules; never an installed package, whose code is imported."""
    paths = [
        "/usr/lib/python3.12/csv.py",
        "/home/me/project/helper.py",
        "/home/me/project/__pycache__/o.pyc",
        "/d.csv",
    ]
    assert own_sources([sys.executable, paths[1]], paths) == ["/home/me/project/helper.py"]
    assert own_sources([sys.executable, "run.py"], paths) == ["run.py", "/home/me/project/helper.py"]
    assert own_sources([sys.executable, "-m", "tool"], paths) == ["/home/me/project/helper.py"]


def test_a_check_is_forked_too_where_it_says_the_same(one, tmp_path):
    """Its modules are there before it; one that can tell is executed each time, and says so to nobody."""
    log = tmp_path / "log"
    source = """
def look():
    there = "decimal" in sys.modules
    import decimal
    with open(LOG, "a") as log:
        log.write("w" if there else "c")
    return RETURNED

@scenario(outputs="o", check=look)
def it():
    for n in range(4):
        put("o", str(n))
    put("o", "end")
"""
    for returned, is_warm in (("1", True), ("there", False)):
        log.write_text("")
        result = one(source.replace("LOG", repr(str(log))).replace("RETURNED", returned))
        assert result.verdict is Verdict.HELD
        assert result.zygote
        assert not zygote_warnings(result)
        said = log.read_text()
        assert said[:2] == "cc"  # to tell its value, and what it reads
        rest = said[3:].rstrip("c")  # at the end a few recoveries are repeated by exec
        assert set(rest) == ({"w"} if is_warm else set())


def test_the_value_of_a_check_is_that_of_a_run_that_is_not_watched(one):
    """A check that asks the kernel whether it is watched hears the same each time."""
    source = """
def look():
    status = Path("/proc/self/status").read_text().splitlines()
    return [line for line in status if line.startswith(("NoNewPrivs", "Seccomp:"))]

@scenario(outputs="o", check=look)
def it():
    for n in range(4):
        put("o", str(n))
"""
    for zygote in (True, False):
        assert one(source, zygote=zygote).verdict is Verdict.HELD


@pytest.mark.parametrize("behind_a_link", [False, True])
def test_another_hash_seed_is_tried_beside_the_trials(one, tmp_path, monkeypatch, behind_a_link):
    """What comes out otherwise in a further run by exec is not judged by trials that have one seed."""
    monkeypatch.delenv("PYTHONHASHSEED", raising=False)
    monkeypatch.setattr(case, "sample", lambda _trials: ())  # no trial is repeated by exec
    count = tmp_path / "count"
    source = f"""
@scenario(outputs="o")
def it():
    is_warm = b"_zygote" in Path("/proc/self/cmdline").read_bytes()
    if not is_warm:
        with open({str(count)!r}, "a") as log:
            log.write("x")
    text = "this" if is_warm or Path({str(count)!r}).stat().st_size == 1 else "that"
    for name in "abc":
        put("part" + name, "x")
    put("release" if {behind_a_link} else "o", text)
    if {behind_a_link} and not Path("o").is_symlink():
        Path("o").symlink_to("release")
"""
    result = one(source)
    assert result.verdict is Verdict.UNKNOWN
    assert result.reason.startswith("nondeterministic: a further run with no fault differs in o")
    monkeypatch.setenv("PYTHONHASHSEED", "7")
    count.unlink()
    assert one(source).verdict is Verdict.HELD
    assert count.read_text() == "x"


def test_a_zygote_that_is_gone_leaves_no_descriptor_open(tmp_path):
    """Each trial that it was asked for fails, and takes nothing with it."""
    script = tmp_path / "script.py"
    script.touch()
    env = {"PATH": os.environ["PATH"]}
    zygote = Zygote([sys.executable, str(script)], cwd=tmp_path, env=env, preload=Preload())
    with contextlib.closing(zygote):
        os.kill(zygote.pid, signal.SIGKILL)
        before = None
        for _ in range(4):
            with pytest.raises(ZygoteError):
                zygote.start(cwd=tmp_path)
            now = len(list(Path("/proc/self/fd").iterdir()))
            assert before in (None, now)
            before = now


def test_a_program_may_import_any_number_of_modules(one, programs, packages):
    """What a zygote is told has no bound: a large stack imports thousands, whose names are megabytes."""
    place, session = packages
    names = [f"m{number:04d}_{'x' * 200}" for number in range(600)]
    for name in names:
        (place / f"{name}.py").touch()
    (programs / "script.py").write_text(
        f"import os\nfrom importlib import import_module\n"
        f"for name in sorted(os.listdir({str(place)!r})):\n"
        f"    if name.startswith('m'): import_module(name.removesuffix('.py'))\n"
        f"os.makedirs('out', exist_ok=True)\n"
        f"for i in range(4): open('out/t', 'w').close(); os.replace('out/t', f'out/{{i}}')\n"
    )
    result = one(command([sys.executable, str(programs / "script.py")]), within=session, points=4)
    assert result.zygote
    assert not zygote_warnings(result)
    assert result.verdict is Verdict.HELD, result


def test_a_zygote_is_told_and_tells_megabytes(tmp_path):
    """Lists of modules that it cannot have as wanted, and arguments of a trial, of any length."""
    script = tmp_path / "script.py"
    script.write_text("import sys; print(len(sys.argv[1]) * (len(sys.argv) - 1))")
    argv = [sys.executable, str(script), *["x" * 100_000] * 10]
    places = tuple((f"json.none{number}", "/nowhere" * 20) for number in range(20_000))
    places += (("ctypes", "/nowhere"),) * 20_000
    env = {"PATH": os.environ["PATH"]}
    preload = Preload(places=places)
    with contextlib.closing(Zygote(argv, cwd=tmp_path, env=env, preload=preload)) as zygote:
        assert zygote.bad == ("ctypes",) * 20_000
        assert said(zygote, tmp_path) == "1000000"


TROUBLE = """
import os, sys
import {module}
os.makedirs("out", exist_ok=True)
for i in range(4):
    open("out/t", "w").close()
    os.replace("out/t", f"out/{{i}}")
"""


@pytest.mark.parametrize(
    ("does", "why"),
    [
        ("os._exit(3)", "it ended during its imports"),
        ("os.write(int(sys.argv[1]), b'\\1' + bytes(7) + b'?')", "its answer cannot be read"),
        ("os.kill(os.getpid(), 9)", "it ended during its imports"),
    ],
)
def test_any_trouble_of_a_zygote_ends_in_exec(one, programs, packages, does, why):
    """It is said once, with the reason, and the verdict is that of trials by exec."""
    place, session = packages
    (place / "trouble.py").write_text(f"import os, sys\nif sys.argv[0].endswith('/_zygote.py'): {does}\n")
    (programs / "script.py").write_text(TROUBLE.format(module="trouble"))
    result = one(command([sys.executable, str(programs / "script.py")]), within=session, points=4)
    assert result.verdict is Verdict.HELD, result
    assert not result.zygote
    (warning,) = zygote_warnings(result)
    assert warning.startswith("no zygote, each trial is an exec: ")
    assert why in warning


#: Kills each zygote before it is used; what runs a program kills all that it has started, so it is a process.
DIES = """
import os, signal, sys
from pathlib import Path
from outlive_harness.world.runner import Runner
from outlive_harness.results.run_spec import RunSpec
from outlive_harness.intercept.supervisor import GO
from outlive_harness.launch.options import RunOptions
from outlive_harness.launch.reap import adopt_orphans
from outlive_harness.launch.zygote import Preload

adopt_orphans()
place = Path(sys.argv[1])
(place / "script.py").write_text("open('out', 'w').close()")
runner = Runner(place / "w000")
spec = RunSpec("made", (sys.executable, str(place / "script.py")), str(place))
for _ in range(4):
    runner.box.fill(None)
    runner.fell_back = ""
    runner.choose_start(spec, Preload())
    zygotes = list(runner.spared)
    for pid in zygotes:
        os.kill(pid, signal.SIGKILL)
    ran = runner.run(spec, RunOptions(60, visit=lambda _op, _number: GO))
    print(len(zygotes), ran.code, (runner.box.path / "out").exists(), runner.fell_back[:10])
runner.clear()
"""


def test_a_zygote_that_dies_is_not_started_for_ever(tmp_path):
    """Each run that it could not fork is an exec, and says why; after three there is none any more."""
    argv = [sys.executable, "-c", DIES, str(tmp_path)]
    done = subprocess.run(argv, capture_output=True, text=True, timeout=120, check=True)
    assert done.stdout.splitlines() == [f"{number} 0 True it is gone" for number in (1, 1, 1, 0)]


def test_what_a_check_finds_is_confirmed_by_exec(one, tmp_path):
    """A violation that it shows in a warm interpreter is seen in a fresh one before it is reported."""
    log = tmp_path / "log"
    source = f"""
def names():
    with open({str(log)!r}, "a") as log:
        log.write("w" if "decimal" in sys.modules else "c")
    import decimal
    return sorted(path.name for path in Path().glob("part*"))

@scenario(check=names)
def it():
    if not Path("done").exists():
        Path("done").touch()
        for n in range(4):
            put(f"part{{n}}", "x")
"""
    result = one(source, explain="none")
    assert [(violation.kind, violation.confirmed) for violation in result.violations] == [("diverged", True)]
    assert "w" in log.read_text()
    assert log.read_text().endswith("c")
