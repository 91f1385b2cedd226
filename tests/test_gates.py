"""What gates a merge: the GitHub action's own shell steps, and the pre-commit hook, run for real."""

import os
import re
import shlex
import shutil
import subprocess
import sys
from pathlib import Path
from xml.etree import ElementTree as ET

import pytest

REPOSITORY = Path(__file__).parents[1]
ACTION = (REPOSITORY / "action.yml").read_text()
HOOKS = (REPOSITORY / ".pre-commit-hooks.yaml").read_text()

GOOD = """
from pathlib import Path
from outlive import atomic_write
from outlive_harness import scenario

@scenario(outputs="out")
def good():
    atomic_write("out", "x" * 10)
"""
BAD = """
from pathlib import Path
from outlive_harness import scenario

@scenario(outputs="out")
def bad():
    Path("out").write_text("x" * 10)
"""


def steps():
    """Return the action's steps: name, shell, env, run and what else they say, read by their indentation."""
    _, _, text = ACTION.partition("  steps:\n")
    found = []
    for block in re.split(r"^    - ", text, flags=re.MULTILINE)[1:]:
        body = re.sub(r"^      ", "", block, flags=re.MULTILINE)
        step = {}
        for key, rest in re.findall(r"^([a-z]+):((?: .*)?\n(?:(?:  .*)?\n)*)", body, re.MULTILINE):
            lines = rest.split("\n")
            below = [line.removeprefix("  ") for line in lines[1:]]
            if key in ("env", "with"):
                step[key] = dict(re.findall(r"^([\w-]+): (.*)$", "\n".join(below), re.MULTILINE))
            else:
                step[key] = "\n".join(below).strip("\n") + "\n" if key == "run" else lines[0].strip()
        found.append(step)
    return found


def inputs():
    """Return the action's inputs and their defaults."""
    _, _, text = ACTION.partition("\ninputs:\n")
    text, _, _ = text.partition("\noutputs:\n")
    return {
        name: default.strip('"')
        for name, default in re.findall(
            r"^  ([\w-]+):\n    description: .*\n    default: (.*)$", text, re.MULTILINE
        )
    }


def step(name):
    (found,) = [one for one in steps() if one["name"] == name]
    return found


@pytest.fixture
def act(tmp_path):
    """Run a shell step of the action as a runner does, with inputs; return the process and the outputs."""

    def run(name, *, path=None, **given):
        one = step(name)
        assert one["shell"] == "bash"
        values = inputs() | {key.replace("_", "-"): value for key, value in given.items()}
        filled = {
            key: re.sub(r"\$\{\{ inputs\.([\w-]+) \}\}", lambda found: values[found[1]], text)
            for key, text in one.get("env", {}).items()
        }
        filled = {
            key: text.replace("${{ github.action_path }}", "/the action") for key, text in filled.items()
        }
        script, outputs = tmp_path.parent / f"{tmp_path.name}.sh", tmp_path.parent / f"{tmp_path.name}.out"
        script.write_text(one["run"])
        outputs.write_text("")
        env = os.environ | filled | {"GITHUB_OUTPUT": str(outputs)}
        env["PATH"] = path or f"{Path(sys.executable).parent}{os.pathsep}{env['PATH']}"
        done = subprocess.run(
            ["/bin/bash", "--noprofile", "--norc", "-eo", "pipefail", script],
            cwd=tmp_path, env=env, capture_output=True, text=True, timeout=120, check=False,
        )  # fmt: skip
        return done, dict(line.split("=", 1) for line in outputs.read_text().splitlines())

    return run


@pytest.fixture
def suite(tmp_path):
    """Write scenario files into scenarios/."""

    def write(**several):
        (tmp_path / "scenarios").mkdir(exist_ok=True)
        for name, text in several.items():
            (tmp_path / "scenarios" / f"{name}.py").write_text(text)

    return write


def reports(tmp_path):
    return sorted(path.name for path in (tmp_path / ".outlive" / "reports").iterdir())


ALL_REPORTS = ["outlive.html", "outlive.json", "outlive.sarif", "outlive.xml"]


def test_no_input_is_ever_a_part_of_a_script():
    """GitHub substitutes before the shell reads: what stands in a run is code, whoever wrote it."""
    runs = [one["run"] for one in steps() if "run" in one]
    assert len(runs) == 3
    assert not any("${{" in run for run in runs)
    assert ACTION.count("run: |") == len(runs)


def test_every_input_is_used_and_every_used_one_is_declared():
    """A renamed input would else be an empty string, without a word."""
    used = set(re.findall(r"\$\{\{[^}]*?inputs\.([\w-]+)", ACTION))
    wanted = {"paths", "faults", "budget", "args", "python-version", "changed", "artifact"}
    assert set(inputs()) == used == wanted


def test_the_action_passes_a_suite_that_holds(act, suite, tmp_path):
    """The verdict is an output, and the reports lie where it says."""
    suite(good=GOOD)
    assert act("Say what this machine can do")[0].returncode == 0
    done, outputs = act("Run the suite")
    assert done.returncode == 0, done.stdout + done.stderr
    assert outputs == {"verdict": "held", "reports": ".outlive/reports"}
    assert reports(tmp_path) == ALL_REPORTS
    assert ET.parse(tmp_path / ".outlive/reports/outlive.xml").getroot().tag == "testsuites"  # noqa: S314 - ours


def test_the_action_fails_a_suite_that_does_not_hold(act, suite, tmp_path):
    """The failures are there to be uploaded, and the step that does so asks for this step's outcome."""
    suite(good=GOOD, bad=BAD)
    done, outputs = act("Run the suite", paths="scenarios/good.py\n\nscenarios/bad.py\n")
    assert done.returncode == 1, done.stdout + done.stderr
    assert outputs["verdict"] == "violated"
    assert reports(tmp_path) == ALL_REPORTS
    upload = step("Keep the failures and the reports")
    assert upload["if"] == "${{ always() && steps.test.outcome == 'failure' }}"
    assert step("Run the suite")["id"] == "test"
    kept = re.findall(r"^ +(\.outlive/\w+)$", ACTION, re.MULTILINE)
    assert kept == [".outlive/failures", ".outlive/reports"]
    assert all((tmp_path / path).is_dir() for path in kept)


def test_the_inputs_are_options_of_outlive_test(act, suite):
    """Each stands for its option; args are split as a shell splits them, and nothing in them is expanded."""
    suite(good=GOOD, bad=BAD, power=GOOD.replace("@scenario(", "@scenario(faults='power', name='power', "))
    done, outputs = act("Run the suite", args="--only 'go'od -j 1", faults="kill,torn", budget="6")
    assert done.returncode == 0, done.stdout + done.stderr
    assert outputs["verdict"] == "held"
    done, outputs = act("Run the suite", args="--only good", changed="true")
    assert done.returncode == 0
    done, outputs = act("Run the suite", args="--only power", faults="kill")
    assert (done.returncode, outputs["verdict"]) == (0, "skipped")
    assert act("Run the suite", budget="no")[1]["verdict"] == "error"
    done, outputs = act("Run the suite", changed="perhaps")
    assert (done.returncode, outputs["verdict"]) == (2, "error")
    assert "::error::changed=perhaps is neither true nor false" in done.stdout


@pytest.mark.parametrize("name", ["paths", "faults", "budget", "args", "changed"])
def test_what_an_input_holds_is_never_run(name, act, suite, tmp_path):
    """Quotes, substitutions and line ends of a shell are but text, and an error."""
    suite(good=GOOD)
    evil = "x\"; touch pwned; $(touch pwned) `touch pwned`\n'; touch pwned #'"
    done, outputs = act("Run the suite", **{name: evil})
    assert done.returncode != 0
    assert outputs["verdict"] == "error"
    assert not (tmp_path / "pwned").exists()


def test_a_suite_that_cannot_be_run_is_an_error_and_no_verdict(act):
    """No scenarios: the status is that of a wrong use."""
    done, outputs = act("Run the suite")
    assert (done.returncode, outputs["verdict"]) == (2, "error")
    assert "there is no directory scenarios/" in done.stderr


def test_outlive_is_installed_only_where_it_is_not(act, tmp_path):
    """What the job installed stays; else this very repository's is installed, by the job's own Python."""
    done, _ = act("Install outlive")
    assert (done.returncode, done.stdout.split()[0]) == (0, "outlive,")
    bin_ = tmp_path / "bin"
    bin_.mkdir()
    (bin_ / "python").write_text('#!/bin/sh\nprintf "%s\\n" "$@" > installed\n')
    (bin_ / "python").chmod(0o755)
    done, _ = act("Install outlive", path=str(bin_))
    assert done.returncode == 0, done.stderr
    arguments = (tmp_path / "installed").read_text().splitlines()
    assert arguments == ["-m", "pip", "install", "--disable-pip-version-check", "/the action[harness]"]


def test_yaml_says_what_these_tests_read():
    """Where a YAML reader is installed, it finds the same steps, inputs and hook."""
    yaml = pytest.importorskip("yaml", reason="PyYAML is not installed; pre-commit brings it")
    action = yaml.safe_load(ACTION)
    assert action["runs"]["using"] == "composite"
    for read, known in zip(steps(), action["runs"]["steps"], strict=True):
        for key, value in read.items():
            if key != "with":
                assert value == known[key], key
    assert {name: one["default"] for name, one in action["inputs"].items()} == inputs()
    (hook,) = yaml.safe_load(HOOKS)
    assert {key: str(value) for key, value in hook.items() if isinstance(value, str)} == {
        key: value for key, value in re.findall(r"^[ -] (\w+): ([^[\n]*)$", HOOKS, re.MULTILINE)
        if value not in ("true", "false")
    }  # fmt: skip


def test_the_hook_runs_the_suite_and_takes_no_names():
    """It names a command that is there, with the extra that it needs."""
    said = dict(re.findall(r"^[ -] (\w+): (.*)$", HOOKS, re.MULTILINE))
    assert (said["language"], said["pass_filenames"], said["types"]) == ("python", "false", "[python]")
    assert said["additional_dependencies"] == '[".[harness]"]'
    program, *arguments = shlex.split(said["entry"])
    done = subprocess.run(
        [Path(sys.executable).parent / program, *arguments, "--help"],
        capture_output=True, text=True, timeout=60, check=True,
    )  # fmt: skip
    assert "--changed" in done.stdout


def test_pre_commit_installs_the_hook_and_gates_with_it(suite, tmp_path):
    """A commit with a suite that holds passes, one with a violated scenario does not, and says why."""
    pre_commit = shutil.which("pre-commit", path=str(Path(sys.executable).parent))
    if pre_commit is None:
        pytest.skip("pre-commit is not installed; it is no part of the harness's own extra")
    if not (REPOSITORY / ".git").exists():
        pytest.skip("pre-commit installs a hook from a git repository, and this is none")
    git = ["git", "-c", "user.name=x", "-c", "user.email=x@localhost", "-C", str(tmp_path)]
    env = {key: value for key, value in os.environ.items() if not key.startswith("GIT_")}
    env["PRE_COMMIT_HOME"] = str(tmp_path.parent / f"{tmp_path.name}-hooks")

    def run(*command):
        return subprocess.run(
            command, cwd=tmp_path, env=env, capture_output=True, text=True, timeout=300, check=False
        )

    def attempt():
        assert run(*git, "add", "-A").returncode == 0
        return run(pre_commit, "try-repo", str(REPOSITORY), "outlive", "--all-files", "--verbose")

    assert run(*git, "init", "-q").returncode == 0
    suite(good=GOOD)
    done = attempt()
    assert done.returncode == 0, done.stdout + done.stderr
    assert "held: 1 held" in done.stdout
    suite(bad=BAD)
    done = attempt()
    assert done.returncode == 1, done.stdout + done.stderr
    assert "torn-output: out is visible half-written" in done.stdout
