"""`outlive new --from`: what is proposed for a command, from what it was seen to do."""

import ast
import os
import shlex
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from outlive_harness.cli.given import as_written, directory_code, started
from outlive_harness.cli.new import _gathered
from outlive_harness.cli.template import proposed_text, python_string
from outlive_harness.disk.tree import Entry
from outlive_harness.golden.advice.absent import missing_inputs
from outlive_harness.golden.advice.proposal import Proposal, propose
from outlive_harness.golden.observe import Observation
from outlive_harness.results.command_text import words_of
from outlive_harness.results.globs import matcher
from outlive_harness.results.ops import Op
from outlive_harness.results.patterns import globs, literal
from outlive_harness.results.scenario import ScenarioError
from outlive_harness.results.scenario_files import load_file

REPOSITORY = Path(__file__).parents[3]
OUTLIVE = [sys.executable, "-P", "-m", "outlive_harness"]
LARGE = 100_000


def tree(**sizes):
    """Return a tree of files: a name, its dots as two underscores and slashes as three, and its size."""
    names = {key.replace("___", "/").replace("__", "."): size for key, size in sizes.items()}
    return files({name: (size, "same") for name, size in names.items()})


def files(several):
    """Return a tree of files with sizes and digests, and of the directories above them."""
    made = {}
    for name, (size, digest) in several.items():
        for parent in list(Path(name).parents)[:-1]:
            made[str(parent)] = Entry("dir", 0o755, 0, "")
        made[name] = Entry("file", 0o644, size, digest)
    return made


def seen(first, *, ops=(), **more):
    """Return an observation of a command that does the same each time, but for what is said otherwise."""
    return Observation(**({"first": first, "second": first, "again": first, "ops": list(ops)} | more))


def put(path):
    return [
        Op("open", "openat", f"{path}.tmp", flags=os.O_CREAT | os.O_WRONLY | os.O_TRUNC),
        Op("write", "write", f"{path}.tmp", length=1),
        Op("rename", "rename", f"{path}.tmp", path),
    ]


def written(path):
    return [
        Op("open", "openat", path, flags=os.O_CREAT | os.O_WRONLY | os.O_TRUNC),
        Op("write", "write", path, length=1),
    ]


# -- the analysis --------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("outputs", "others", "patterns"),
    [
        (["out/a.csv", "out/b.csv"], [], ["out/*.csv"]),
        (["out/a.csv", "out/b.json"], [], ["out/*.csv", "out/*.json"]),
        (["out/a", "out/b"], [], ["out/*"]),
        (["out/a.csv", "out/deep/b.csv"], [], ["out/**"]),
        (["out/a.csv", "out/deep/b.csv"], ["out/deep/b.done"], ["out/**/*.csv"]),
        (["out/a", "out/b"], ["out/_SUCCESS"], ["out/a", "out/b"]),
        (["out/1/_SUCCESS", "out/2/_SUCCESS"], ["out/1/a"], ["out/**/_SUCCESS"]),
        (["report.txt"], ["run.log"], ["report.txt"]),
        ([f"part{n}.csv" for n in range(40)], ["part.log"], ["*.csv"]),
        ([f"out/{n}" for n in range(40)], ["out/_SUCCESS"], ["out/*"]),
        (["a.csv", "out/a.csv"], [], ["a.csv", "out/*.csv"]),
        ([f"day={n}/part.csv" for n in range(40)], ["run.log"], ["**/*.csv"]),
        (["out/.a", "out/.b"], [], ["out/.*"]),
        (["out/a", "out/.b"], ["out/.d/c"], ["out/*", "out/.*"]),
        ([f".{n}.csv" for n in range(40)], [], [".*"]),
        (["we[i]rd*?"], ["we1rd12"], ["we?i]rd[*][?]"]),
    ],
)
def test_outputs_are_few_patterns_that_match_nothing_else(outputs, others, patterns):
    """Forty names are one pattern; what is no output is matched only where forty names were the price."""
    assert globs(outputs, others) == patterns
    assert all(map(matcher(patterns), outputs))


@given(st.text(min_size=1).filter(lambda name: not {"/", "\0"} & set(name) and name not in (".", "..")))
def test_a_literal_pattern_matches_its_own_path(name):
    """Whatever a name is made of, its pattern matches it; in a directory of that name, too."""
    assert matcher([literal(f"out/{name}")])(f"out/{name}")
    assert matcher(globs([f"{name}x/{name}1", f"{name}x/{name}2"], []))(f"{name}x/{name}1")


@pytest.mark.parametrize(
    "marker", ["out/a.done", "out/_SUCCESS", ".checkpoints/a", "state.json", "job.checkpoint", ".state/x"]
)
def test_what_is_named_like_a_checkpoint_is_no_output(marker):
    """The file says which they seem to be and why; they are not ignored, since a recovery reads them."""
    made = propose(seen(files({"out/a.csv": (9, "x"), marker: (3, "y")})))
    assert made.outputs == ["out/*.csv"]
    ((pattern, why),) = made.checkpoints
    assert matcher([pattern])(marker)
    assert why
    assert made.ignore == []


def test_a_large_file_is_no_marker_whatever_its_name():
    """A model is not left unchecked for its ending."""
    made = propose(seen(files({"out/model.ckpt": (LARGE, "x")})))
    assert (made.outputs, made.checkpoints) == (["out/*.ckpt"], [])


def test_an_empty_file_after_an_output_is_a_marker_and_one_before_is_not():
    """What is made last, and holds nothing, says that the rest is done."""
    first = tree(out___a__csv=9, finish=0)
    late = propose(seen(first, ops=[*put("out/a.csv"), *written("finish")[:1]]))
    assert late.checkpoints == [("finish", "empty, and made after out/a.csv")]
    early = propose(seen(first, ops=[*written("finish")[:1], *put("out/a.csv")]))
    assert (early.checkpoints, early.outputs) == ([], ["finish", "out/*.csv"])


def test_a_small_file_that_is_written_anew_as_the_run_goes_on_is_its_state():
    """It follows the outputs; one that is written once is an output itself."""
    first = tree(out___a__csv=9, out___b__csv=9, where=3)
    ops = [*put("where"), *put("out/a.csv"), *put("where"), *put("out/b.csv")]
    assert propose(seen(first, ops=ops)).checkpoints == [("where", "small, and written anew after out/a.csv")]
    once = propose(seen(first, ops=[*put("out/a.csv"), *put("where"), *put("out/b.csv")]))
    assert once.outputs == ["where", "out/*.csv"]


def test_an_output_that_is_put_in_place_again_after_a_lock_is_no_state():
    """A tool that takes a lock, and links outputs to its cache, writes none of them as the run goes on."""
    ops = [*written("a.csv"), *put("tmp/lock"), *written(".tool/cache/a"), *put("a.csv"), *put("b.csv")]
    first = files(dict.fromkeys(["a.csv", "b.csv", "tmp/lock", ".tool/cache/a"], (9, "same")))
    assert propose(seen(first, ops=ops)).outputs == ["a.csv", "b.csv"]


def test_a_database_is_for_a_check_to_read():
    """Its file is written in place, and whole only together with its journal."""
    journal = Op("open", "openat", "rows.db-journal", flags=os.O_CREAT | os.O_RDWR)
    made = propose(seen(tree(rows__db=9, out=9), ops=[journal]))
    assert (made.outputs, [pattern for pattern, _ in made.apart]) == (["out"], ["rows.db"])
    with pytest.raises(
        ScenarioError, match=r"rows.db \(a database with a journal, for a check to read\); fix"
    ):
        propose(seen(tree(rows__db=9), ops=[journal]))


def test_where_only_markers_are_left_they_are_what_the_command_is_for():
    """`touch done` has an output."""
    assert propose(seen(tree(done=0))).outputs == ["done"]
    with pytest.raises(ScenarioError, match="no file that could be compared: done"):
        propose(seen(files({"done": (9, "1")}), second=files({"done": (9, "2")})))


def test_what_differs_between_two_runs_is_not_compared_and_says_why():
    """It is an output by name that is ignored: judged is whether it is seen half-written. A log is not."""
    first = files({"out/a.csv": (9, "x"), "meta.json": (9, "1"), "lock": (3, "1"), "run.log": (9, "1")})
    second = files({"out/a.csv": (9, "x"), "meta.json": (9, "2"), "lock": (3, "2"), "run.log": (9, "2")})
    made = propose(seen(first, second=second))
    assert made.outputs == ["out/*.csv", "meta.json"]
    assert [pattern for pattern, _ in made.ignore] == ["run.log", "meta.json"]
    assert "half-written" in made.ignore[1][1]
    assert {pattern for pattern, _ in made.apart} == {"lock"}
    many = {f"out/{n}": (9, "x") for n in range(9)}
    made = propose(seen(files(many | {"out/stamp": (9, "1")}), second=files(many | {"out/stamp": (9, "2")})))
    assert made.outputs == ["out/*", "out/stamp"]
    ((pattern, why),) = made.ignore
    assert pattern == "out/stamp"
    assert "differs between two runs" in why
    made = propose(seen(files(many | {"out/_SUCCESS": (0, "x")})))
    assert (made.outputs, made.ignore) == (["out/*"], [])
    ((pattern, why),) = made.checkpoints
    assert pattern == "out/_SUCCESS"
    assert why.endswith("the outputs' patterns match it, too")


def test_names_that_differ_between_two_runs_are_one_pattern():
    """The random part is left open, of a directory with all below it."""
    many = {f"out/{n}": (9, "x") for n in range(9)}
    first = files(many | {"run-8f2a/x.dat": (1, "x"), "tmp.aaaa.dat": (1, "x")})
    second = files(many | {"run-77c1/x.dat": (1, "x"), "tmp.bbbb.dat": (1, "x")})
    made = propose(seen(first, second=second))
    assert made.outputs == ["out/*"]
    patterns = [pattern for pattern, _ in made.apart]
    assert set(patterns) == {"run-*/", "tmp.*.dat"}


def test_a_log_is_ignored_unless_who_appends_to_it_knows_what_is_there():
    """Whole lines that a second run does not repeat are data."""
    first, again = tree(out=LARGE, events__log=20), tree(out=LARGE, events__log=40)
    resumed = propose(seen(first, by_line={"events.log"}))
    assert (resumed.append_only, resumed.ignore) == (["events.log"], [])
    assert "events.log" in resumed.outputs
    grown = propose(seen(first, by_line={"events.log"}, again=again))
    assert (grown.append_only, grown.ignore) == ([], [("events.log", "a log, by its name")])
    rows = propose(seen(tree(rows__csv=20), by_line={"rows.csv"}, again=tree(rows__csv=40)))
    assert rows.append_only == rows.outputs == ["rows.csv"]
    assert rows.notes == ["Run again on its own result, with no crash, it changes rows.csv."]


def test_caches_and_the_state_of_tools_are_one_pattern_each():
    """Whatever their files are called, and if they vary or not; unless something else is below."""
    state = [".snakemake/metadata/b3V0", ".snakemake/log/1.log", "cache/joblib/f/1/output.pkl", ".doit.db"]
    state += ["target/manifest.json", "target/run/sales/models/a.sql"]
    first = files(
        dict.fromkeys([*state, "cache/.gitignore", "logs/a.csv", "logs/b.log", "out/a.csv"], (9, "same"))
    )
    second = {**first, **files(dict.fromkeys(state[:3:2], (9, "other")))}
    made = propose(seen(first, second=second))
    ignored = dict(made.ignore)
    assert made.outputs == ["out/*.csv"]
    assert set(ignored) == {".doit.db", ".snakemake/**", "cache/**", "logs/**", "target/**"}
    assert ignored["cache/**"] == "a cache, by its name"
    kept = propose(seen(first, again={**first, "logs/a.csv": first["out/a.csv"]}, by_line=["logs/a.csv"]))
    assert "logs/**" not in dict(kept.ignore)


def test_what_was_there_and_did_not_change_is_no_output_and_what_changed_is():
    """An input directory's files stand in the box, too."""
    initial = files({"in.csv": (9, "x"), "total": (9, "x")})
    made = propose(seen(initial | files({"total": (9, "y")}), initial=initial))
    assert made.outputs == ["total"]


def test_a_long_run_gets_a_limit_and_writes_elsewhere_are_told():
    """The usual limit of a short run is long enough."""
    assert propose(seen(tree(out=1), seconds=5.0)).timeout is None
    made = propose(seen(tree(out=1), seconds=12.1, outside=["/var/x", "/var/y"]))
    assert made.timeout == 61
    assert made.notes == ["Written outside the box, where no crash state can hold it: /var/x, /var/y."]


@pytest.mark.parametrize(
    ("observed", "message"),
    [
        (
            Observation(outside=["/tmp/x"]),
            "it leaves no files in its box.*; it wrote outside its box: /tmp/x",
        ),
        (
            seen(files({"a": (1, "1")}), second=files({"a": (1, "2")})),
            "it leaves no file that could be compared: a .differs between two runs",
        ),
        (seen(files({".tmp/a": (1, "1")})), "it leaves no files in its box"),
    ],
)
def test_where_nothing_can_be_compared_that_is_an_error(observed, message):
    """It says what the command did leave."""
    with pytest.raises(ScenarioError, match=message):
        propose(observed)


def test_what_a_command_looked_for_is_an_input_if_the_user_has_it():
    """What it makes itself, what is there already, and markers of a run of the user's are none."""
    looked = ["in.csv", "data", "data/x", "out/a", "state.json", "gone", "there", ".", "../up"]
    observed = Observation(looked=looked, initial=tree(there=1), ops=[Op("mkdir", "mkdir", "out")])
    assert missing_inputs(observed, lambda path: path != "gone") == ["in.csv", "data"]
    said = "sort: cannot read: names.txt: No such file or directory\n/x/y.py: line 3\n"
    assert missing_inputs(Observation(stderr=said), lambda path: path == "names.txt") == ["names.txt"]
    said = "ModuleNotFoundError: No module named 'steps.clean'\n"
    assert missing_inputs(Observation(stderr=said), {"steps", "clean.py"}.__contains__) == ["steps"]


# -- the text ------------------------------------------------------------------------------------------


@given(st.text(st.characters(codec=None, exclude_categories=()) | st.sampled_from("'\"\\\n{}")))
def test_a_string_in_python_is_the_text_itself(text):
    """Quotes, line ends, backslashes, lone surrogates: the literal is ASCII and means the same."""
    code = python_string(text)
    assert code.isascii()
    assert ast.literal_eval(code) == text


ODD = "o d\n'\"\\{{ x }}\udcff#"


def test_a_file_with_odd_names_is_a_python_file_that_means_them(tmp_path):
    """Patterns, arguments, inputs and comments: nothing in a name can break out of its place."""
    made = Proposal(
        [ODD, f"{ODD}*"], 2, f"2 files, {ODD}", [ODD], [(ODD, ODD)], [(ODD, ODD)], [(ODD, ODD)], [ODD], 7
    )
    words = as_written(["prog", ODD, "sh " * 60 + "\n" + "x" * 200], tmp_path)
    text = proposed_text(
        "odd",
        [word.code for word in words],
        made,
        seen="2 ops",
        given=['input=ROOT / "in",', "cwd=ROOT,"],
        files=[ODD, "x" * 90],
        directories=[ODD],
    )
    path = tmp_path / "scenarios" / "odd.py"
    path.parent.mkdir()
    path.write_text(text, encoding="utf-8")
    (one,) = load_file(path)
    assert one.outputs == (ODD, f"{ODD}*")
    assert one.command == tuple(word.value for word in words)
    assert (one.append_only, one.ignore, one.timeout) == ((ODD,), (ODD,), 7)


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("python3 p.py 'a b'", ["python3", "p.py", "a b"]),
        ("sort x > y", ["sh", "-c", "sort x > y"]),
        ("a; b", ["sh", "-c", "a; b"]),
        ("X=1 prog", ["sh", "-c", "X=1 prog"]),
        ("prog $HOME", ["sh", "-c", "prog $HOME"]),
        ("prog # x", ["prog", "#", "x"]),
        ("make out=1", ["make", "out=1"]),
    ],
)
def test_what_needs_a_shell_gets_one(text, words):
    """A command is one text, as it would be typed."""
    assert words_of("--from", text) == words


@pytest.mark.parametrize("text", ["", "  ", "''", "prog 'x"])
def test_a_text_that_is_no_command_is_an_error(text):
    """The message begins with the option and its value."""
    with pytest.raises(ScenarioError, match=r"^--from="):
        words_of("--from", text)


def test_many_files_of_one_directory_are_copied_as_the_directory():
    """Those directly where the user is stay single: the directory above them is the whole project."""
    many = [f"raw/{n}" for n in range(9)]
    single = [str(n) for n in range(9)]
    assert _gathered([*many, *single, "conf/a", "lib", "lib/x"]) == [*single, "conf/a", "lib", "raw"]


def test_files_of_the_user_are_written_relative_to_the_scenario(tmp_path):
    """Python is the one that runs the suite; what the command makes, or is elsewhere, stays as it is."""
    for name in ("p.py", "c.yml", "x'y"):
        (tmp_path / name).touch()
    words = ["python3", "p.py", "--config=c.yml", str(tmp_path / "x'y"), "out", "/etc/hostname"]
    assert [word.code for word in as_written(words, tmp_path)] == [
        "sys.executable",
        'str(ROOT / "p.py")',
        '"--config=" + str(ROOT / "c.yml")',
        'str(ROOT / "x\'y")',
        '"out"',
        '"/etc/hostname"',
    ]
    there = as_written(["make", "x'y", "OUT={box}/out"], tmp_path, str(tmp_path))
    assert [word.value for word in there] == ["make", "x'y", "OUT={box}/out"]


@pytest.mark.parametrize(
    ("text", "cwd", "argv", "env", "where"),
    [
        ("make OUT={box}/out", None, ("make", "OUT={box}/out"), (), "."),
        ("A=1 B='2 3' make x", None, ("make", "x"), ("A=1", "B=2 3"), None),
        ("cd data && exec make x", None, ("sh", "-c", "cd data && exec make x"), (), None),
        ("cd data && exec make x", ".", ("make", "x"), (), "data"),
        ("make x", "data", ("make", "x"), (), "data"),
    ],
)
def test_a_command_is_declared_with_no_shell_where_it_needs_none(text, cwd, argv, env, where, tmp_path):
    """Its variables and its directory become keywords; a directory in the box is not known beforehand."""
    (tmp_path / "data").mkdir()
    found = started(words_of("--from", text), cwd and os.path.normpath(tmp_path / cwd), tmp_path)
    assert (found.argv, found.env) == (argv, env)
    assert found.cwd == (where and os.path.normpath(tmp_path / where))
    code = found.cwd and directory_code(found.cwd, tmp_path)
    assert code == {None: None, ".": "ROOT", "data": 'ROOT / "data"'}[where]


# -- the whole -----------------------------------------------------------------------------------------


@pytest.fixture
def outlive(tmp_path):
    """Run the command where a user's project is."""

    def run(*arguments, status):
        done = subprocess.run(
            [*OUTLIVE, *arguments],
            cwd=tmp_path, capture_output=True, text=True, errors="replace", timeout=120, check=False,
        )  # fmt: skip
        assert done.returncode == status, done.stdout + done.stderr
        return done.stdout + done.stderr

    return run


PUT = """
import os, sys, tempfile, time, uuid
from pathlib import Path

def put(path, text):
    path = Path(path)
    path.parent.mkdir(exist_ok=True)
    with tempfile.NamedTemporaryFile("w", dir=path.parent, delete=False) as f:
        f.write(text)
    os.replace(f.name, path)
"""
STEPS = """
from outlive import atomic_write, mark_done, step_done
Path("out").mkdir(exist_ok=True)
for step in ("clean", "total"):
    if not step_done(step):
        atomic_write(f"out/{step}.csv", Path(sys.argv[1]).read_text())
        mark_done(step)
"""
VARYING = """
put("out/a.csv", "a" * 100)
put("out/b.csv", "b" * 100)
put("meta.json", f"{int(time.time())}")
put(f"work/{uuid.uuid4()}.dat", "x")
with open("run.log", "a") as log:
    log.write(f"{time.time()}\\n")
"""
APPENDING = """
path = Path("events.log")
have = path.read_bytes() if path.exists() else b""
with open(path, "ab", buffering=0) as log:
    for n in range(have.count(b"\\n"), 4):
        log.write(b"event %d\\n" % n)
"""
AGAIN = """
with open("rows.csv", "ab", buffering=0) as rows:
    for n in range(4):
        rows.write(b"%d\\n" % n)
"""
ODD_NAMES = """
directory = b"o d'\\n\\"\\xff"
os.makedirs(directory, exist_ok=True)
for name in (b"a{{ x }}.csv", b"[b]*.csv", b"c\\xff\\n.csv"):
    for where in (directory, b"."):
        part = os.path.join(where, b".part")
        Path(os.fsdecode(part)).write_text("x")
        os.replace(part, os.path.join(where, name))
"""
LOOKING = """
names = Path("names.txt")
put("total", "".join(p.read_text() for p in sorted(Path("data").glob("*"))) + str(names.exists()))
"""
SORTED = "set -e\nmkdir -p out\nsort names.txt > out/.part\nmv out/.part out/names.txt\n: > out/_SUCCESS\n"
IN_PLACE = "mkdir -p out\ncat data/*.txt > out/all.txt\n"

#: (script, its name, the command, what the file must hold, what testing it must come to)
WHOLE = {
    "steps": (
        PUT + STEPS,
        "steps.py",
        "python3 steps.py names.txt",
        ['outputs="out/*.csv"', "# Checkpoints, not compared: .checkpoints/*", 'str(ROOT / "names.txt")'],
        0,
    ),
    "shell": (
        SORTED,
        "job.sh",
        "sh job.sh",
        ['outputs="out/*.txt"', "out/_SUCCESS", '("names.txt",)'],
        0,
    ),
    "in place": (IN_PLACE, "all.sh", "sh all.sh", ['outputs="out/*.txt"', "data"], 1),
    "varying": (
        PUT + VARYING,
        "varying.py",
        "python3 varying.py",
        ['outputs=["meta.json", "out/*.csv"]', 'read={"meta.json": "json"}', "work/*.dat", '"run.log"'],
        0,
    ),
    "appending": (
        PUT + APPENDING,
        "appending.py",
        "python3 appending.py",
        ['append_only="events.log"', 'outputs="events.log"'],
        0,
    ),
    "again": (PUT + AGAIN, "again.py", "python3 again.py", ['append_only="rows.csv"', "it changes rows"], 1),
    "odd": (PUT + ODD_NAMES, "odd.py", "python3 odd.py", [r"\udcff"], 0),
    "operators": (
        "",
        "sorted.txt",
        "sort < names.txt > part && mv part sorted",
        ['outputs="sorted"', '("names.txt",)'],
        0,
    ),
    "looking": (
        PUT + LOOKING,
        "looking.py",
        "python3 looking.py",
        ['outputs="total"', 'copytree(ROOT / "data", "data"', '("names.txt",)'],
        0,
    ),
    "box": ("", "x", "cp names.txt {box}/copied", ['"cp", "names.txt", "{box}/copied"', "cwd=ROOT,"], 1),
}


@pytest.mark.parametrize("case", WHOLE)
def test_a_proposed_scenario_runs_at_once_and_its_verdict_is_right(case, outlive, tmp_path):
    """Good pipelines hold and bad ones are violated, from any directory; the file is short and clean."""
    script, name, command, held, status = WHOLE[case]
    (tmp_path / name).write_text(script)
    (tmp_path / "names.txt").write_text("z\ny\nx\n")
    (tmp_path / "data").mkdir()
    (tmp_path / "data" / "a.txt").write_text("a" * 100)
    said = outlive("new", "mine", "--from", command, status=0)
    assert said.endswith("wrote scenarios/mine.py; run it with: outlive test scenarios/mine.py\n")
    path = tmp_path / "scenarios" / "mine.py"
    text = path.read_text(encoding="utf-8")
    for part in held:
        assert part in text, text
    assert len(text.splitlines()) <= 40
    (tmp_path / "elsewhere").mkdir()
    done = subprocess.run(
        [*OUTLIVE, "test", "-j", "1", str(path)],
        cwd=tmp_path / "elsewhere", capture_output=True, text=True, errors="replace", timeout=120,
        check=False,
    )  # fmt: skip
    assert done.returncode == status, done.stdout + done.stderr + text
    ruff = shutil.which("ruff", path=str(Path(sys.executable).parent))
    if ruff is not None:  # the gate has it; who only runs the tests may not
        settings = ["--no-cache", "--config", str(REPOSITORY / "pyproject.toml")]
        for wish in (["check", "--ignore", "INP001"], ["format", "--check"]):
            clean = subprocess.run(
                [ruff, *wish, *settings, path],
                capture_output=True, text=True, timeout=60, check=False,
            )  # fmt: skip
            assert clean.returncode == 0, clean.stdout + text


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--from", "sh -c 'echo no room >&2; exit 3'"], "with no fault it exited with 3: no room"),
        (["--from", "sleep 60", "--timeout", "0.5"], "did not end within 0.5 s (after 0 ops); --timeout"),
        (["--from", "true"], "it leaves no files in its box, so there is nothing to compare"),
        (["--from", "date +%N > now"], "no file that could be compared: now (differs between two runs"),
        (["--from", "nosuchprogram x"], "command not found: 'nosuchprogram'"),
        (["--from", "x 'y"], '--from="x \'y" cannot be read: No closing quotation'),
        (["json", "--from", "true"], "NAME='json' is the name of a module"),
        (["ROOT", "--from", "true"], "NAME='ROOT' is a name that the scenario file itself uses"),
        ([], "Missing argument 'NAME'"),
        (["x", "--input", "."], "--input goes with --from"),
    ],
)
def test_where_there_is_nothing_to_propose_no_file_is_written(arguments, message, outlive, tmp_path):
    """The status is 2, and the message says what was seen."""
    assert message in outlive("new", *arguments, status=2)
    assert not (tmp_path / "scenarios").exists()


def test_the_name_is_the_scripts_and_no_file_is_overwritten(outlive, tmp_path):
    """A name that cannot be a scenario's is made one; the second time it is there already."""
    (tmp_path / "data").mkdir()
    (tmp_path / "data" / "in").write_text("x")
    (tmp_path / "json.py").write_text(PUT + "put('out', Path('in').read_text())")
    command = shlex.join(["python3", "json.py"])
    assert "wrote scenarios/run_json.py" in outlive("new", "--from", command, "--input", "data", status=0)
    path = tmp_path / "scenarios" / "run_json.py"
    assert 'input=ROOT / "data",' in path.read_text()
    outlive("test", "-j", "1", status=0)
    path.write_text("mine")
    assert "scenarios/run_json.py exists" in outlive("new", "--from", command, status=2)
    assert path.read_text() == "mine"


REFUSED = """
import errno, sys
sys.path.insert(0, sys.argv[1])
from _observe import refuse_seccomp
refuse_seccomp(errno.EPERM)
from outlive_harness.cli import run
sys.exit(run(["new", "--from", "sh job.sh", "--input", "data"]))
"""


def test_where_calls_are_refused_what_is_left_is_enough_for_a_proposal(tmp_path):
    """No op is seen there; the files that two runs leave are, and the file says so."""
    (tmp_path / "job.sh").write_text("sort names.txt > t\nmv t out\ndate +%N > job.log\n")
    (tmp_path / "data").mkdir()
    (tmp_path / "data" / "names.txt").write_text("b\na\n")
    done = subprocess.run(
        [sys.executable, "-P", "-c", REFUSED, str(Path(__file__).parents[1])],
        cwd=tmp_path, capture_output=True, text=True, timeout=120, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stdout + done.stderr
    text = (tmp_path / "scenarios" / "job.py").read_text()
    assert 'outputs="out",' in text
    assert '"job.log"' in text
    assert "calls cannot be intercepted here" in " ".join(text.replace("#", "").split())
