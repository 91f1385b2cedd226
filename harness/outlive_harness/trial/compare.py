"""Truths 3 and 4: after recovery the outputs are those of the golden run, and nothing else is left."""

from __future__ import annotations

from dataclasses import dataclass

from outlive_harness.disk.tree import Tree
from outlive_harness.golden.contents import difference_in
from outlive_harness.golden.names import aligned
from outlive_harness.golden.record import Record
from outlive_harness.judge import links, trees
from outlive_harness.results.findings import Finding
from outlive_harness.results.run_spec import HOME, TMP, is_of_interpreter
from outlive_harness.results.trials import Trial
from outlive_harness.world.runner import Runner

from .crash import Touched


@dataclass(frozen=True, slots=True)
class Leftovers:
    """Distinguishes a leftover of the crash from an extra output.

    Attributes:
        state: the crash state.
        crashed: the paths that the runs before it made.
        recovered: the paths that the recovery made.
        is_known: whether these paths are known, as ops were seen.
    """

    state: Tree
    crashed: Touched
    recovered: Touched
    is_known: bool

    def by_crash(self, path: str, after: Tree) -> bool:
        """Return whether the crash left a file unfinished: it was never installed, nor made again."""
        if not self.is_known:
            return self.state.get(path) == after[path]
        return path in self.state and not self.crashed.has_installed(path) and not self.recovered.made(path)


def compare(runner: Runner, record: Record, trial: Trial, after: Tree, left: Leftovers) -> None:
    """Compare the files after a recovery with the golden run's; the trial takes the findings."""
    spec, box = record.spec, runner.box.path
    after = aligned(record, after)
    for path in trees.differing(record.final, after, spec.is_output):
        is_gone = path not in after
        sentence = f"after recovery {path} {'is missing' if is_gone else 'is not what the golden run wrote'}"
        detail = difference_in(runner, record, path, record.final, after, box)
        trial.findings.append(Finding("diverged", path, sentence, detail))
    trial.findings += _behind_links(runner, record, after, {finding.path for finding in trial.findings}, left)
    folded = {path: record.fold(path) for path in record.final}
    golden_names = set(folded.values())
    varying = {name for path, name in folded.items() if name != path and spec.is_output(path)}
    for path in trees.surplus(record.final, after):
        size = after[path].size if after[path].kind == "file" else -1
        is_extra = record.fold(path) in varying and spec.is_output(path)
        if (record.fold(path) in golden_names and not is_extra) or is_of_interpreter(path, size):
            continue
        if is_extra or (spec.is_output(path) and not left.by_crash(path, after)):
            sentence = f"after recovery there is an output that the golden run does not leave: {path}"
            trial.findings.append(Finding("diverged", path, sentence))
        else:
            fails = spec.litter == "fail" and path.split("/", 1)[0] not in (TMP, HOME)
            where = trial.findings if fails else trial.warnings
            where.append(Finding("litter", record.fold(path), f"{path} is left behind by the crash"))


def _behind_links(
    runner: Runner, record: Record, after: Tree, reported: set[str], left: Leftovers
) -> list[Finding]:
    """Compare the files that readers find through links with those after the golden run."""
    is_output, box = record.spec.is_output, runner.box.path
    golden, real = links.seen(record.final, is_output), links.through(after, is_output)
    here = {alias: after[path] for alias, path in real.items()}
    found = []
    for path in trees.differing(golden, here, is_output):
        if path not in reported:
            what = "is not what the golden run wrote" if path in here else "is missing"
            detail = difference_in(runner, record, path, golden, here, box)
            found.append(Finding("diverged", path, f"after recovery {path}, through a link, {what}", detail))
    names = {record.fold(path) for path in golden.keys() | record.final.keys()}
    for path in trees.surplus(golden, here):
        if record.fold(path) not in names and not left.by_crash(real[path], after):
            sentence = f"after recovery there is an output that the golden run does not leave: {path}"
            found.append(Finding("diverged", path, f"{sentence} (through a link)"))
    return found
