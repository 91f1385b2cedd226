"""Cures for a pipeline whose golden runs differ: what to declare so that the rest of it can be judged."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence

from outlive_harness.disk.tree import Tree
from outlive_harness.golden.observe import Observation, by_line
from outlive_harness.golden.record import Record
from outlive_harness.results.patterns import literal, undated
from outlive_harness.results.run_spec import RunSpec
from outlive_harness.results.scenario import ScenarioError

from .by_value import ByValue
from .cures import Cure, in_words
from .guesses import Guess, Kind, guess_all
from .proposal import Proposal, patterns_of, propose

#: How many reasons are told.
_MOST = 4


def observed(record: Record, again: Tree, second: Tree) -> Observation:
    """Return what the golden runs show of a pipeline, as ``new --from`` would observe it.

    Args:
        record: the record of the first run.
        again: the files after one more run on its result.
        second: the files after a run from scratch.
    """
    again = again or record.final
    seen = Observation(record.initial, record.final, dict(again), dict(second), record.ops)
    seen.by_line = by_line(record.golden, seen)
    return seen


def cures_for(spec: RunSpec, seen: Observation, known: ByValue) -> list[Cure]:
    """Return the options that would let a nondeterministic pipeline be judged; the best first.

    If the user names no outputs, that is a whole proposal; else only what varies among them is left out.

    Args:
        spec: the pipeline.
        seen: what its golden runs show.
        known: which outputs are equal from run to run by some reader or mask.
    """
    for path in known.paths:  # they do not vary
        seen.second[path] = seen.again[path] = seen.first[path]
    if spec.outputs or not spec.judge_outputs:
        return [*known.cures, *_left_out(spec, seen)]
    try:
        made = propose(seen)
    except ScenarioError:  # all that it leaves varies
        return []
    return [*_declared(made), *known.cures]


def _declared(made: Proposal) -> list[Cure]:
    cures = [Cure("outputs", pattern) for pattern in made.outputs]
    cures += [Cure("append_only", pattern) for pattern in made.append_only]
    cures += [Cure("ignore", pattern, why) for pattern, why in made.ignore]
    ignored = {pattern for pattern, _ in made.ignore}
    left = [(pattern, why) for pattern, why in (*made.checkpoints, *made.apart) if pattern not in ignored]
    return cures + [Cure("", pattern, f"{why}; not compared") for pattern, why in left]


def cures_for_a_log(record: Record, seen: Observation) -> list[Cure]:
    """Return a proposal if a run on its own result changes a log, or the like, and no outputs are named.

    A log that grows is no output that changes; whoever declares it as one has it judged.
    """
    if record.spec.outputs or not record.spec.judge_outputs:
        return []
    changed = [one.path for one in record.findings if one.kind == "not-idempotent" and one.path]
    guesses = guess_all(seen) if changed else {}
    is_log = any(path in guesses and guesses[path].kind is Kind.IGNORED for path in changed)
    return cures_for(record.spec, seen, ByValue(frozenset(), [])) if is_log else []


def _left_out(spec: RunSpec, seen: Observation) -> list[Cure]:
    """Return cures that ignore the outputs that vary; those written anew are still judged for being whole."""
    guesses = guess_all(seen)
    varying = {path for path, guess in guesses.items() if guess.varies and spec.is_output(path)}
    trees = (seen.first, seen.second)
    others = {path for tree in trees for path, entry in tree.items() if entry.kind != "dir"} - varying
    alike: dict[Guess, list[str]] = defaultdict(list)
    cures: list[Cure] = []
    for path in sorted(varying):
        guess = guesses[path]
        is_in_both = path in seen.first and path in seen.second
        if guess.is_unsteady and is_in_both and path not in seen.by_line:
            (pattern,) = undated([literal(path)], others)
            cures += [Cure("outputs", pattern)] * (pattern not in spec.outputs)
            cures.append(Cure("ignore", pattern, guess.why))
        else:
            alike[guess].append(path)
    for guess, paths in alike.items():
        cures += [Cure("ignore", pattern, guess.why) for pattern in patterns_of(paths, others, seen)]
    return list(dict.fromkeys(cures))


def advice(spec: RunSpec, cures: list[Cure]) -> str:
    """Return what to do about a nondeterministic pipeline: what to paste, with its reasons."""
    if not cures:
        return "fix its time and its seed, or write a check that judges what it leaves (check= of a scenario)"
    return f"add {with_reasons(spec, cures)}"


def with_reasons(spec: RunSpec, cures: Sequence[Cure]) -> str:
    """Return cures as the user would write them, and behind them why."""
    reasons = list(dict.fromkeys(f"{one.value}: {one.why.rstrip('.')}" for one in cures if one.why))
    told = f" ({'; '.join(reasons[:_MOST])}{'; ...' if len(reasons) > _MOST else ''})" if reasons else ""
    return in_words(spec, cures) + told
