"""Declarations: what a scenario file may say, and what it is told when it may not."""

import functools
import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

from outlive_harness import cli, scenario
from outlive_harness.results.run_spec import absolute, run_spec_of
from outlive_harness.results.scenario import ScenarioError, takes_acks
from outlive_harness.results.scenario_files import RUNNING, find_files, load_file


def write(path, text):
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text("from outlive_harness import scenario\n" + text)
    return path


def test_a_decorated_function_is_a_scenario_of_its_name(tmp_path):
    """The ten-line form: the body is the pipeline, the docstring its description."""
    path = write(tmp_path / "s.py", '@scenario(outputs="out/*")\ndef report():\n    "Says what."\n')
    (found,) = load_file(path)
    assert (found.name, found.outputs, found.doc, found.line) == ("report", ("out/*",), "Says what.", 2)
    assert Path(found.file) == path


def test_a_command_is_named_by_its_variable_or_its_name(tmp_path):
    """No decorator and no function: the call itself declares the scenario."""
    text = 'sh = scenario(command=["sh", "-c", "true"])\nx = scenario(command=["true"], name="named")\n'
    assert [one.name for one in load_file(write(tmp_path / "s.py", text))] == ["sh", "named"]


def test_an_imported_scenario_belongs_to_its_own_file(tmp_path):
    """A helper's scenarios are not found twice, and helpers beside the file can be imported."""
    write(tmp_path / "_help.py", "def f(): return 1\n")
    write(tmp_path / "a.py", "@scenario()\ndef one(): pass\n")
    path = write(tmp_path / "b.py", "from a import one\nfrom _help import f\n@scenario()\ndef two(): pass\n")
    assert [found.name for found in load_file(path)] == ["two"]


FACTORY = "def pipeline(text): return scenario(command=['sh', '-c', text], outputs='o')\n"


def test_what_a_helper_declares_belongs_to_the_file_that_names_it(tmp_path):
    """A factory's scenario, and one that stands in the helper, run for the file, with its lines."""
    write(tmp_path / "_common.py", FACTORY + "shared, spare = pipeline('x'), pipeline('y')\n")
    text = "from _common import pipeline, shared\n\nbad = pipeline('echo 1 > o')\n"
    path = write(tmp_path / "a.py", text)
    assert [(one.name, one.file, one.line) for one in load_file(path)] == [
        ("shared", str(path), 2),
        ("bad", str(path), 4),
    ]


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("@scenario()\ndef f(): pass\n@scenario()\ndef f(): pass\n", "2: 'f' .* later one has taken its"),
        ("several = [scenario(command=['x'])]\n", "2: a scenario is declared .* no name is left"),
        ("\nscenario(command=['x'], name='n')\n", "3: 'n' is declared .*; assign it to a name of its own"),
        ("from _common import pipeline\npipeline('x')\n", "3: a scenario is declared"),
    ],
)
def test_a_scenario_that_no_name_stands_for_is_an_error(tmp_path, text, message):
    """It would not run, and nobody would be told."""
    write(tmp_path / "_common.py", FACTORY)
    with pytest.raises(ScenarioError, match=rf"s\.py:{message}"):
        load_file(write(tmp_path / "s.py", text))


def test_one_declaration_may_decorate_several_functions(tmp_path):
    """What has decorated a function is no scenario of its own, and no forgotten one."""
    text = "both = scenario(outputs='o')\n@both\ndef a(): pass\n@both\ndef b(): pass\n"
    found = load_file(write(tmp_path / "s.py", text))
    assert [(one.name, one.line) for one in found] == [("a", 3), ("b", 5)]


def test_helpers_of_one_name_are_each_directorys_own(tmp_path):
    """A helper module, a package and a namespace are another file's no more than their directory is."""
    search = list(sys.path)
    for name in ("first", "second"):
        for helper in ("_common.py", "_package/__init__.py", "_space/part.py"):
            write(tmp_path / name / helper, f"NAME = '{name}'\n")
        text = (
            "import _common, _package, _space.part\n"
            "them = [_common.NAME, _package.NAME, _space.part.NAME]\n"
            "one = scenario(command=them)\n"
        )
        (found,) = load_file(write(tmp_path / name / "s.py", text))
        assert found.command == (name,) * 3
    assert not {"_common", "_package", "_space", "_space.part"} & set(sys.modules)
    assert sys.path == search


def test_a_file_that_is_named_as_a_module_hides_it_from_nobody(tmp_path):
    """A scenario file xml.py, or a helper, is not what the report writers import later."""
    write(tmp_path / "plistlib.py", "one = scenario(command=['x'])\n")
    path = write(tmp_path / "other.py", "import plistlib\nother = scenario(command=['x'])\n")
    code = (
        "import sys; from outlive_harness.results.scenario_files import load_file\n"
        "for path in sys.argv[1:]: load_file(path)\n"
        "import plistlib; plistlib.dumps"
    )
    subprocess.run([sys.executable, "-c", code, tmp_path / "plistlib.py", path], check=True)


def test_what_modules_hold_is_not_disturbed(tmp_path):
    """A proxy that imports, or fails, when it is asked what it is, is a library's own matter."""
    text = (
        "class Proxy:\n    @property\n    def __class__(self): globals()['more'] = 1; return Proxy\n"
        "proxy = Proxy()\n"
    )
    write(tmp_path / "_library.py", text)
    path = write(tmp_path / "s.py", "import _library\none = scenario(command=['x'])\n")
    assert [one.name for one in load_file(path)] == ["one"]
    assert "more" not in vars(sys.modules["outlive_scenario_s"]._library)


def test_where_its_functions_run_helpers_are_there_at_any_time(tmp_path, monkeypatch):
    """A body that imports when it is called finds its helpers, and scenarios without names are no matter."""
    write(tmp_path / "_late.py", "")
    path = write(tmp_path / "s.py", "@scenario()\ndef f(): import _late\n[scenario(command=['x'])]\n")
    monkeypatch.setenv(RUNNING, str(path))
    monkeypatch.setattr(sys, "path", list(sys.path))
    load_file(path)[0]()
    assert sys.modules.pop("_late").__file__ == os.fspath(tmp_path / "_late.py")


class Check:
    """Checks that are no plain functions."""

    def plain(self):
        pass

    def judged(self, acks):
        pass

    __call__ = judged


@pytest.mark.parametrize(
    ("check", "takes"),
    [
        (lambda: None, False),
        (lambda acks: acks, True),
        (lambda acks=(): acks, True),
        (lambda *rest: rest, False),
        (Check().plain, False),
        (Check().judged, True),
        (Check(), True),
        (functools.partial(Check().judged, []), False),
        (functools.partial(print, "x"), False),
        (len, True),
        (os.getcwd, False),
        (dict, False),
    ],
)
def test_whether_a_check_takes_the_acknowledgements_is_told_of_anything_callable(check, takes):
    """Bound methods, partials and builtins are checks as functions are."""
    assert scenario(check=check).check is check
    assert takes_acks(check) is takes


def test_anything_callable_can_be_a_body(tmp_path):
    """What has no code of its own is named by its variable, and stands where it is declared."""
    text = "import functools\none = scenario(outputs='o')(functools.partial(print, 'x'))\n"
    (found,) = load_file(write(tmp_path / "s.py", text))
    assert (found.name, found.line) == ("one", 3)


FORMS = """
import functools
from _help import run, VALUE

@scenario
def bare(): run()

@scenario()
async def asynchronous():
    import asyncio
    await asyncio.sleep(0)
    run()

named_by_its_variable = scenario(outputs="o")(lambda: run())

def make(name):
    @scenario(name=name)
    def inner(): run(name)
    return inner

first, second = make("first"), make("second")
"""


def test_each_form_of_a_body_runs_in_its_own_process(tmp_path):
    """Without parentheses, asynchronous, a lambda, and closures that a function made: found by name."""
    write(tmp_path / "_help.py", "VALUE = 1\ndef run(what='ran'): print(what)\n")
    path = write(tmp_path / "s.py", FORMS)
    names = [one.name for one in load_file(path)]
    assert names == ["bare", "asynchronous", "named_by_its_variable", "first", "second"]
    for name, said in zip(names, ("ran", "ran", "ran", "first", "second"), strict=True):
        program = [sys.executable, "-P", "-m", "outlive_harness._body", path, name, "body", tmp_path]
        done = subprocess.run(program, capture_output=True, text=True, check=True)
        assert (done.stdout, done.stderr) == (f"{said}\n", "")


def test_one_of_two_bodies_of_one_name_is_not_chosen(tmp_path):
    """Two that a function made without names: a process that is to run one does not run the other."""
    text = "def make():\n    @scenario\n    def f(): pass\n    return f\na, b = make(), make()\n"
    path = write(tmp_path / "s.py", text)
    program = [sys.executable, "-P", "-m", "outlive_harness._body", path, "f", "body", tmp_path]
    done = subprocess.run(program, capture_output=True, text=True, check=False)
    assert (done.returncode, done.stderr) == (1, f"{path} has 2 scenarios named 'f'\n")


BREAKPOINTS = """
@scenario
def body(): breakpoint()

@scenario(params={"n": [1]})
def traced(n): import pdb; pdb.set_trace()

def look(): breakpoint()

@scenario(check=look)
def judged(): pass

@scenario
def deaf():
    try:
        breakpoint()
    except BaseException:
        print("went on")
"""


@pytest.mark.parametrize(
    ("name", "role", "told"),
    [
        ("body", "body", r"a breakpoint, at .*s\.py:4, has .*call it yourself, in an .*, and then body\(\)$"),
        ("traced[1]", "body", r"a breakpoint, at .*, has no terminal here: .* and then traced\(n=1\)$"),
        (
            "judged",
            "check",
            r"s\.py:9, has .*, in a shell that outlive replay ID --shell opens: .* look\(\)$",
        ),
    ],
)
def test_a_breakpoint_says_what_to_do_instead(tmp_path, name, role, told):
    """A debugger would read end-of-file and end: the message names the line, and the call that works."""
    path = write(tmp_path / "s.py", BREAKPOINTS)
    more = [tmp_path / "said"] if role == "check" else []
    program = [sys.executable, "-P", "-m", "outlive_harness._body", path, name, role, tmp_path, *more]
    done = subprocess.run(program, capture_output=True, text=True, check=False, stdin=subprocess.DEVNULL)
    assert done.returncode == 1
    assert re.search(told, done.stderr.strip().splitlines()[-1])


def test_the_call_that_a_breakpoint_proposes_stops_in_the_debugger(tmp_path):
    """What the message says to write, typed as a user types it."""
    path = write(tmp_path / "s.py", BREAKPOINTS)
    typed = subprocess.run(
        [sys.executable, "-i", path],
        input="traced(n=1)\np n + 41\nc\n",
        capture_output=True,
        text=True,
        check=True,
    )
    assert "42" in typed.stdout


def test_breakpoints_that_are_switched_off_are_passed_by(tmp_path):
    """PYTHONBREAKPOINT=0 is Python's own way to do so."""
    path = write(tmp_path / "s.py", BREAKPOINTS)
    program = [sys.executable, "-P", "-m", "outlive_harness._body", path, "body", "body", tmp_path]
    subprocess.run(program, check=True, env={**os.environ, "PYTHONBREAKPOINT": "0"})


def test_modules_of_the_working_directory_can_be_imported(tmp_path, monkeypatch):
    """A project's own modules are there when the file is loaded, as they are when its body runs."""
    search = list(sys.path)
    (tmp_path / "_project_module.py").write_text("def run(): print('ran')\n")
    text = "import _project_module\n@scenario\ndef f(): _project_module.run()\n"
    path = write(tmp_path / "scenarios" / "s.py", text)
    monkeypatch.chdir(tmp_path)
    assert [one.name for one in load_file(path)] == ["f"]
    assert sys.path == search
    assert "_project_module" not in sys.modules
    program = [sys.executable, "-P", "-m", "outlive_harness._body", path, "f", "body", tmp_path]
    done = subprocess.run(program, capture_output=True, text=True, check=True, cwd="/")
    assert done.stdout == "ran\n"


def test_an_import_with_a_dot_says_what_to_write(tmp_path):
    """A scenario file has no package; its helpers are imported by their names."""
    path = write(tmp_path / "s.py", "from . import _help\n")
    with pytest.raises(ScenarioError, match=r"write import helper, or from helper import name$"):
        load_file(path)


def test_marks_of_pytest_are_noted_wherever_they_stand(tmp_path):
    """On the body, above @scenario, where they get no function, around a command, and with a parameter."""
    text = (
        "import pytest\n"
        "@pytest.mark.skip\n@pytest.mark.skipif(False, reason='r')\n"
        "@scenario\n@pytest.mark.usefixtures('x')\ndef f(): pass\n"
        "g = pytest.mark.nightly(scenario(command=['true']))\n"
        "@scenario(params={'n': [1, pytest.param(2, marks=pytest.mark.xfail)]})\ndef h(n): pass\n"
    )
    found = {one.name: one for one in load_file(write(tmp_path / "s.py", text))}
    assert {name: sorted((mark.name, mark.args) for mark in one.marks) for name, one in found.items()} == {
        "f": [("skip", ()), ("skipif", (False,)), ("usefixtures", ("x",))],
        "g": [("nightly", ())],
        "h[1]": [],
        "h[2]": [("xfail", ())],
    }


@pytest.mark.parametrize(
    ("wrong", "message"),
    [
        ({"faults": ","}, "faults=',' must name at least one"),
        ({"expect": "torn-output,torn"}, "expect='torn' is not a violation"),
        ({"expect": "torn"}, "expect='torn' is not a violation; there are: not-idempotent"),
        ({"command": "ls -l"}, "command='ls -l' must be a list"),
        ({"command": []}, r"command=\[\] must be a list"),
        ({"depth": 0}, "depth=0 must be a whole number from 1 on"),
        ({"restarts": 1.5}, "restarts=1.5 must be a whole number"),
        ({"timeout": 0}, "timeout=0 must be a number of seconds over 0"),
        ({"litter": "no"}, "litter='no' must be 'warn' or 'fail'"),
        ({"setup": "f"}, "setup='f' must be a function"),
        ({"check": lambda: (yield)}, "check=<function .*> must be a function without a yield"),
        ({"outputs": [1]}, "outputs=1 must be a string"),
        ({"outputs": 5}, "outputs=5 must be a string or several"),
        ({"name": 5}, "name=5 must be a string"),
        ({"timeout": float("inf")}, "timeout=inf must be a number of seconds over 0"),
        ({"timeout": float("nan")}, "timeout=nan must be a number of seconds over 0"),
        ({"timeout": "5"}, "timeout='5' must be a number of seconds over 0"),
        ({"command": ["sleep", 1]}, "command=1 must be a string or a path"),
        ({"input": 5}, "input=5 must be a string or a path"),
    ],
)
def test_wrong_arguments_are_told_by_name_and_value(wrong, message):
    """Messages begin with the argument's name and the value that it had."""
    with pytest.raises(ScenarioError, match="^" + message):
        scenario(**wrong)


@pytest.mark.parametrize("given", ["kill,torn", " kill, torn,kill,", ["kill", "torn"], ["kill,torn"]])
def test_names_may_be_one_text_with_commas(given):
    """As on the command line; blanks and repetitions do not count."""
    assert scenario(faults=given).faults == ("kill", "torn")
    assert scenario(expect="torn-output,diverged").expect == ("torn-output", "diverged")


def test_what_the_bare_decorator_gets_must_be_a_function():
    """A keyword's value without its name is told with what to write."""
    with pytest.raises(ScenarioError, match=r"^scenario\('out/\*'\) takes keywords only: write its name, as"):
        scenario("out/*")


def test_a_body_and_a_command_exclude_each_other():
    """A scenario that had both would silently ignore one."""
    with pytest.raises(ScenarioError, match="'both': a scenario has a body or a command, not both"):

        @scenario(command=["true"])
        def both():
            pass


def test_a_declaration_without_body_or_command_is_told_with_its_line(tmp_path):
    """A forgotten decorator target is an error that names the place."""
    with pytest.raises(ScenarioError, match=r"s\.py:2: nothing has neither a body nor a command"):
        load_file(write(tmp_path / "s.py", "nothing = scenario(outputs='x')\n"))


def test_files_are_found_without_helpers_and_tests(tmp_path):
    """One file = one scenario; names that begin with an underscore are helpers."""
    for name in ("b.py", "a.py", "_h.py", "test_x.py", "conftest.py", "sub/c.py", "n.txt"):
        write(tmp_path / name, "")
    assert [path.name for path in find_files([tmp_path])] == ["a.py", "b.py", "c.py"]
    assert [path.name for path in find_files([tmp_path / "_h.py"])] == ["_h.py"]
    with pytest.raises(ScenarioError, match=r"no such scenario file or directory: .*gone"):
        find_files([tmp_path / "gone"])


def test_what_is_no_file_is_found_by_no_search(tmp_path):
    """Links that lead nowhere or to themselves, pipes and directories are passed over."""
    write(tmp_path / "a.py", "")
    (tmp_path / "dir.py").mkdir()
    (tmp_path / "loop.py").symlink_to("loop.py")
    (tmp_path / "gone.py").symlink_to("nowhere")
    os.mkfifo(tmp_path / "pipe.py")
    assert find_files([tmp_path]) == [tmp_path / "a.py"]
    for path in ("loop.py", "gone.py", "pipe.py"):
        with pytest.raises(ScenarioError, match=f"no such scenario file or directory: .*{path}"):
            find_files([tmp_path / path])


def test_an_empty_path_is_not_the_working_directory(tmp_path, monkeypatch, capsys):
    """A variable that is not set searches nothing."""
    monkeypatch.chdir(tmp_path)
    for argv in (["test", ""], ["replay", "a:kill@1", ""]):
        assert cli.run(argv) == 2
        assert "PATH='' is empty; the working directory is ." in capsys.readouterr().err


def test_relative_files_in_a_command_are_made_absolute(tmp_path):
    """The command runs in the box, so its script must be found from there; its output must not be."""
    (tmp_path / "p.py").touch()
    (tmp_path / "c.yml").touch()
    (tmp_path / "out").mkdir()
    got = absolute(["python3", "p.py", "--config=c.yml", "out", "p.pyx"], tmp_path)
    assert got == ("python3", f"{tmp_path}/p.py", f"--config={tmp_path}/c.yml", "out", "p.pyx")
    assert absolute(["./p.py"], tmp_path) == (f"{tmp_path}/p.py",)
    (tmp_path / "sh").touch()
    assert absolute(["sh", "-c", "true"], tmp_path) == ("sh", "-c", "true")


def test_a_file_of_the_input_is_that_of_the_box(tmp_path):
    """Even if the user has such a file, too: the program is to read the one that the input brings."""
    source = tmp_path / "input"
    (source / "d").mkdir(parents=True)
    for path in (tmp_path / "in.csv", source / "in.csv", source / "d" / "x", tmp_path / "p.py"):
        path.touch()
    got = absolute(["python3", "p.py", "in.csv", "--more=d/x", "input/in.csv"], tmp_path, source)
    assert got == ("python3", f"{tmp_path}/p.py", "in.csv", "--more=d/x", "in.csv")


def test_a_command_that_names_the_box_runs_where_the_user_is(tmp_path):
    """With {box} nothing is rewritten but the placeholder, and the working directory is the user's."""
    (tmp_path / "p.py").touch()
    made = scenario(command=["python3", "p.py", "--out", "{box}/out"], name="x")
    made.file = str(tmp_path / "s.py")
    subject = run_spec_of(made)
    argv, cwd = subject.command(subject.argv, Path("/b/box"))
    assert argv == ["python3", "p.py", "--out", "/b/box/out"]
    assert cwd == tmp_path


def test_equal_scenarios_share_a_recording_and_others_do_not():
    """The key covers every field that can change a run."""
    first, same = (run_spec_of(scenario(command=["true"], name="x", outputs="o")) for _ in range(2))
    other = run_spec_of(scenario(command=["true"], name="x", outputs="p"))
    assert first.key() == same.key() != other.key()


def test_declaring_a_scenario_imports_next_to_nothing():
    """It is imported in every run of a function scenario, so its cost counts a thousandfold."""
    code = "import outlive_harness, sys; print(sorted(m for m in sys.modules if 'outlive' in m))"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    inner = (
        "globs",
        "instants",
        "keywords",
        "params",
        "reader_names",
        "scenario",
        "value_kinds",
        "violations",
    )
    names = [
        "outlive_harness",
        "outlive_harness.results",
        *(f"outlive_harness.results.{name}" for name in inner),
    ]
    assert done.stdout.strip() == str([*names, "outlive_harness.scenario"])
