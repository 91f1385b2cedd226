"""A pipeline whose golden runs differ: what is proposed for it, and taken if nothing was declared."""

import sys
from pathlib import Path, PurePath

import pytest

from outlive_harness import scenario
from outlive_harness.disk.tree import Entry
from outlive_harness.golden.advice.by_value import ByValue
from outlive_harness.golden.advice.cures import Cure, in_words
from outlive_harness.golden.advice.nondeterminism import advice, cures_for
from outlive_harness.golden.moment import tells_the_time
from outlive_harness.golden.observe import Observation
from outlive_harness.results.run_spec import run_spec_of
from outlive_harness.results.scenario import NO_FILE
from outlive_harness.results.verdicts import Verdict

#: Writes a table, a log with times, a database with a journal, and a random report.
ETL = """
set -e
mkdir -p out
echo "begins at $(date +%s%N)" > etl.log
printf 'a,b\\n' > out/new && mv out/new out/2026-11.csv
printf x > out/x.db-journal && printf x > out/x.db && rm out/x.db-journal
od -An -N8 -tx1 /dev/urandom > out/new && mv out/new out/report-2026-11.json
"""


NOTHING = ByValue(frozenset(), [])


def tree(**files):
    found = {path.replace("__", "/"): Entry("file", 0o644, 9, digest) for path, digest in files.items()}
    above = {str(one) for path in found for one in PurePath(path).parents}
    return found | {path: Entry("dir", 0o755, 0, "") for path in above - {"."}}


def seen(first, second):
    """Return an observation of two runs that left these files; keys have __ for a slash."""
    return Observation(first=tree(**first), again=tree(**first), second=tree(**second))


def spec_of(*, file=NO_FILE, **keywords):
    made = scenario(command=["x"], name="it", **keywords)
    made.file = str(Path.cwd() / file)
    return run_spec_of(made)


def paths(cures, keyword):
    return [one.value for one in cures if one.keyword == keyword]


def test_without_outputs_the_whole_proposal_is_the_cure():
    """What is the same is compared, a log is ignored, what varies is judged for being whole."""
    first = {"out__a.csv": "1", "etl.log": "2", "report.json": "3"}
    cures = cures_for(spec_of(), seen(first, {**first, "etl.log": "x", "report.json": "y"}), NOTHING)
    assert paths(cures, "outputs") == ["out/*.csv", "report.json"]
    assert paths(cures, "ignore") == ["etl.log", "report.json"]
    assert all(one.why for one in cures if one.keyword == "ignore")


def test_with_outputs_only_what_varies_among_them_is_left_out():
    """Names that hold a month or a random part become patterns; what is no output is not spoken of."""
    first = {"out__2026-11.csv": "1", "out__run-ab12__p": "2", "etl.log": "3"}
    second = {"out__2026-11.csv": "x", "out__run-cd34__p": "2", "etl.log": "y"}
    cures = cures_for(spec_of(outputs="out/**"), seen(first, second), NOTHING)
    assert paths(cures, "outputs") == ["out/*.csv"]
    assert paths(cures, "ignore") == ["out/*.csv", "out/run-*/"]


def test_where_all_varies_the_user_is_told_what_is_left_to_do():
    """No pattern would leave anything to compare."""
    observed = seen({"a.log": "1"}, {"a.log": "2"})
    assert cures_for(spec_of(), observed, NOTHING) == []
    assert "time and its seed" in advice(spec_of(), [])


def test_cures_are_written_as_they_are_given():
    """Options with a shell's quotes for a command, keywords with Python's for a scenario in a file."""
    cures = [Cure("outputs", "out/*"), Cure("ignore", "a b"), Cure("ignore", 'c"'), Cure("append_only", "l")]
    assert in_words(spec_of(), cures) == ("--outputs 'out/*' --ignore 'a b' --ignore 'c\"' --append-only l")
    assert in_words(spec_of(file="s.py"), cures) == (
        'outputs="out/*", ignore=["a b", "c\\""], append_only="l"'
    )


def test_a_command_without_outputs_is_judged_by_what_is_proposed(check):
    """It is said in one line; the report is still judged for being whole, and the declaration says so."""
    result = check("sh", "-c", ETL)
    assert result.verdict is Verdict.HELD, result
    (said,) = [one for one in result.warnings if one.startswith("its runs differ")]
    assert (
        "--outputs 'out/*.csv' --outputs 'out/report-*.json' --ignore etl.log --ignore 'out/report-*.json' ("
        in said
    )
    assert [one.what for one in result.not_judged] == ["out/report-2026-11.json", "etl.log", "out/*.db"]
    assert result.not_judged[-1].why == "a database with a journal, for a check to read; not compared"
    torn = check("sh", "-c", ETL.replace("out/new && mv out/new", ""))
    assert {(one.kind, one.path) for one in torn.violations} == {
        ("torn-output", "out/2026-11.csv"), ("torn-output", "out/report-2026-11.json"),
    }  # fmt: skip


@pytest.mark.parametrize("keywords", [{"outputs": ("etl.log", "out/**")}, {"outputs": "**"}])
def test_declared_outputs_are_never_narrowed(check, keywords):
    """The user said what to judge: the verdict is unknown, and its last line can be pasted."""
    result = check("sh", "-c", ETL, **keywords)
    assert result.verdict is Verdict.UNKNOWN
    last = result.reason.splitlines()[-1]
    assert last.startswith(
        "add --outputs 'out/report-*.json' --ignore 'out/report-*.json' --ignore etl.log ("
    )


def test_a_scenario_in_a_file_is_told_its_keywords(one):
    """A suite's verdict never rests on a guess: it is unknown until the file says what is judged."""
    result = one(f"it = scenario(command=['sh', '-c', {ETL!r}])")
    assert result.verdict is Verdict.UNKNOWN
    last = result.reason.splitlines()[-1]
    assert last.startswith('add outputs=["out/*.csv", "out/report-*.json"], ignore=["etl.log", "out/report-*')


def test_a_log_that_grows_is_no_output_that_changes(check, one):
    """Undeclared it is ignored, and said so; declared, or in a scenario's file, it is judged as an output."""
    script = "echo ran >> etl.log; printf x > t && mv t out"
    result = check("sh", "-c", script)
    assert result.verdict is Verdict.HELD, result
    assert [one.what for one in result.not_judged] == ["etl.log"]
    (said,) = [one for one in result.warnings if one.startswith("its runs differ")]
    assert "--outputs out --ignore etl.log (etl.log: a log, by its name)" in said
    for judged in (
        check("sh", "-c", script, outputs="**"),
        one(f"it = scenario(command=['sh', '-c', {script!r}])"),
    ):
        assert ("not-idempotent", "etl.log") in {(found.kind, found.path) for found in judged.violations}
    grown = check("sh", "-c", "echo ran >> data; printf x > t && mv t out")
    assert ("not-idempotent", "data") in {(found.kind, found.path) for found in grown.violations}


BY_THE_SECOND = """
it = scenario(command=["sh", "-c", "date +%s > out/.t && mv out/.t out/at"], outputs="out/*", setup=make)
"""


def test_a_time_in_whole_seconds_is_seen_to_vary(one):
    """Runs within one second would print the same: the second run waits where the first has left its time."""
    result = one("def make(): os.mkdir('out')\n" + BY_THE_SECOND)
    assert result.reason.startswith("nondeterministic: two runs with no fault differ in out/at")


@pytest.mark.parametrize(
    ("content", "expected"),
    [
        (b"at 1796097252\n", True),
        (b"2026-12-01T03:54:12Z", True),
        (b"2026-12-01T03:54:11Z", True),
        (b"run 035412", True),
        (b"2026-12-01T03:54:13Z", False),
        (b"2026-12-01", False),
        (b"17960972520", False),
        (b"", False),
    ],
)
def test_a_moment_is_found_in_what_a_run_leaves(content, expected, tmp_path):
    """Seconds since 1970 and times of day, of each second of the run, in contents and in names."""
    (tmp_path / "a").write_bytes(content)
    began, ended = 1796097251.9, 1796097252.1
    assert tells_the_time(tmp_path, tree(a=""), began, ended) is expected
    assert tells_the_time(tmp_path, tree(**{"log-1796097252": ""}), began, ended)


ORDER = "import os; names = {str(n) for n in range(99)}; open('t', 'w').write(' '.join(names))"


def test_the_order_of_a_set_is_cured_by_a_seed(check, monkeypatch):
    """Tried, not guessed: with one seed its runs are the same, and all that it leaves is compared."""
    monkeypatch.delenv("PYTHONHASHSEED", raising=False)
    result = check(sys.executable, "-c", f"{ORDER}; os.replace('t', 'out')")
    assert result.verdict is Verdict.HELD, result
    assert result.not_judged == []
    (said,) = [one for one in result.warnings if one.startswith("its runs differ")]
    assert "is judged: --outputs out --env PYTHONHASHSEED=0 (" in said
    result = check(sys.executable, "-c", f"{ORDER}; os.replace('t', 'out')", outputs="out")
    assert result.reason.splitlines()[-1].startswith("add --env PYTHONHASHSEED=0 (")


def test_a_seed_is_no_cure_for_a_time(check, monkeypatch):
    """Each output has the cure that fits it: a mask for the time, a seed for the order of a set."""
    monkeypatch.delenv("PYTHONHASHSEED", raising=False)
    code = f"import time; {ORDER}; os.replace('t', 'out'); open('at', 'w').write(str(time.time()))"
    result = check(sys.executable, "-c", code, outputs=("out", "at"))
    last = result.reason.splitlines()[-1]
    assert last.startswith(r"add --mask '\b1[5-9]\d{8}(\.\d+)?\b' --env PYTHONHASHSEED=0 (")


#: Notes each run in the state of a tool, and puts its output in place whole.
STEPS = "echo ran >> .doit.json; echo 1 > .new && mv .new a.csv"


def test_the_state_of_a_tool_is_no_output_though_golden_runs_agree_on_it(check):
    """A recovery has less to do, and notes something else; whoever names all files has them judged."""
    result = check("sh", "-c", STEPS)
    assert result.verdict is Verdict.HELD, result
    said = "--ignore .doit.json (.doit.json: state of the tool"
    assert [said in one for one in result.warnings] == [True]
    assert [one.what for one in result.not_judged] == [".doit.json"]
    assert check("sh", "-c", STEPS, outputs="**").verdict is Verdict.VIOLATED


def test_where_a_tool_leaves_nothing_but_its_state_that_is_the_output(check):
    """Otherwise there would be nothing to judge."""
    assert check("sh", "-c", "echo ran >> .doit.json").verdict is Verdict.VIOLATED
