"""An export for a bug report: the program, what the crash left, and a script that shows the failure."""

from __future__ import annotations

import os
import shlex
import shutil
from pathlib import Path

from outlive_harness import __version__
from outlive_harness.disk.copying import copy_tree
from outlive_harness.golden.record import Record
from outlive_harness.results.instants import SECOND
from outlive_harness.results.run_spec import BOX, HOME, TMP
from outlive_harness.results.trials import Trial

from .escaped import visible, visible_lines

_SCRIPT = """\
#!/bin/sh
# Runs the pipeline on what the crash left, and compares the result with that of a run that never crashed.
here=$(CDPATH= cd -- "$(dirname -- "$0")" && pwd)
box=$(mktemp -d) && trap 'rm -rf "$box"' EXIT && cp -a "$here/crashed/." "$box" || exit 70
export TMPDIR="$box/{tmp}" HOME="$box/{home}" PWD="$box"
{clock}cd "{cwd}" || exit 70
{torn}{command}
echo "exit status: $?"
diff -r "$here/golden" "$box" && echo "the same files as after a run that never crashed"
"""


def export(place: Path, record: Record, trial: Trial, identifier: str, target: Path) -> None:
    """Write a directory that shows a failure by itself.

    Args:
        place: the directory where the failure's boxes are kept.
        record: the golden run.
        trial: the trial that failed.
        identifier: the replay id.
        target: the directory to write; if it exists, it must be empty.

    Raises:
        OSError: it cannot be written, or is not empty.
    """
    target.mkdir(parents=True, exist_ok=True)
    if any(target.iterdir()):
        raise FileExistsError(f"{target} is not empty")
    for name in ("golden", "crashed", "recovered"):
        if (place / name).is_dir():
            (target / name).mkdir()
            copy_tree(place / name, target / name)
    program = target / "program"
    program.mkdir()
    words = [_copied(word, program) for word in record.spec.argv]
    is_elsewhere = any(BOX in word for word in record.spec.argv)
    script = target / "reproduce.sh"
    script.write_text(
        _SCRIPT.format(
            cwd="$here" if is_elsewhere else "$box",
            tmp=TMP,
            home=HOME,
            clock=_clock(record),
            torn=_torn(trial, target / "crashed"),
            command=" ".join(words),
        ),
        encoding="utf-8",
        errors="surrogateescape",
    )
    script.chmod(0o755)
    (target / "README.md").write_text(_readme(record, trial, identifier), encoding="utf-8")


def _clock(record: Record) -> str:
    """Return lines of the script about a clock that stood still, which a script cannot lend."""
    spec = record.spec
    if spec.instant is None:
        return ""
    what = f"times in outputs differ: the clock runs on here, and stood still at {spec.freeze} before"
    return f"export SOURCE_DATE_EPOCH={spec.instant // SECOND}\necho '{what}'\n"


def _torn(trial: Trial, crashed: Path) -> str:
    """Return lines of the script that show a half-written output; the recovery may have repaired it."""
    torn = (one.path for one in trial.findings if one.kind == "torn-output")
    paths = dict.fromkeys(path for path in torn if (crashed / path).is_file())  # it may be that of a set
    lines = ["echo 'what the crash left at the path of an output; these are expected to differ:'"]
    lines += [f'diff -q "$here/golden"/{path} "$here/crashed"/{path}' for path in map(shlex.quote, paths)]
    return "\n".join([*lines, "echo 'what the next run leaves:'", ""]) if paths else ""


def _copied(word: str, program: Path) -> str:
    """Copy a file that a word of the command names; return the word for the script."""
    if os.path.basename(word).startswith("python") and os.access(word, os.X_OK) and os.path.isabs(word):
        return "python3"
    if os.path.isabs(word) and os.path.isfile(word) and not _is_installed(word):
        beside = sorted(Path(word).parent.glob("*.py")) if word.endswith(".py") else []
        for path in dict.fromkeys([Path(word), *beside]):
            shutil.copy2(path, program / path.name)
        return '"$here"/program/' + shlex.quote(os.path.basename(word))
    return '"$box"'.join(shlex.quote(part) if part else "" for part in word.split(BOX)) or "''"


def _is_installed(word: str) -> bool:
    """Return whether a program comes with a package, and is not one of the user's own."""
    return os.access(word, os.X_OK) and not Path(word).is_relative_to(os.path.expanduser("~"))


def _readme(record: Record, trial: Trial, identifier: str) -> str:
    spec = record.spec
    kinds = ", ".join(dict.fromkeys(one.kind for one in trial.findings)) or "held"
    lines = [
        f"# {visible(spec.name)}: {kinds}",
        "",
        f"Made by outlive {__version__} (`outlive replay {visible(identifier)}`).",
        "",
        "`./reproduce.sh` runs the pipeline on what the crash left (`crashed/`), and compares the result",
        "with that of a run that never crashed (`golden/`). `recovered/` is the result where it was found.",
    ]
    if spec.is_function:
        package = f"'outlive[harness]=={__version__}'"
        lines += ["", f"The pipeline is the body of a scenario: `pip install {package}` first."]
    lines += ["", "## What was found", "", "```"]
    for finding in trial.findings:
        lines += visible_lines(f"{finding.kind}: {finding.message}") + visible_lines(finding.detail)
    done = [line for one in trial.story for line in visible_lines(one)]
    lines += ["```", "", "## What was done", "", "```", *done, "```"]
    lost = [visible(one) for one in trial.lost]
    if lost:
        lines += ["", "## What the power cut lost", "", "```", *lost, "```"]
    kept = [visible(one) for one in trial.stayed]
    if kept:
        lines += ["", "## What it kept though it came later", "", "```", *kept, "```"]
    return "\n".join([*lines, "", "The command:", "", f"    {visible(shlex.join(spec.argv))}", ""])
