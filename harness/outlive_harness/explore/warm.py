"""Whether runs may be forked from a zygote: what it imports beforehand is found out from the golden run."""

from __future__ import annotations

from collections.abc import Sequence

from outlive_harness.launch.zygote import Preload, ZygoteError, installed_modules, own_sources, parse

from .golden import Record
from .runner import BODY, CHECK, Runner

#: A run of fewer ops is over before a zygote has paid for itself.
LEAST_OPS = 6
#: Zygotes that are tried, each without what spoiled the one before.
_ATTEMPTS = 6


def warm_up(runner: Runner, made: Record) -> None:
    """Have a zygote, if there can be one: ``preload`` says what it imported, else a warning says why not.

    Args:
        runner: what it is for.
        made: the record of a golden run, with what that read.
    """
    subject = made.subject
    argv = subject.command(subject.argv, runner.box)[0]
    path = subject.environment(runner.box).get("PATH")
    if made.refused or len(made.ops) < LEAST_OPS or parse(argv, path) is None:
        return
    try:
        made.preload, why = _tried(runner, made, argv, made.reads, BODY)
    except ZygoteError as error:
        why = str(error)
    if why:
        runner.cool()
        made.warnings.append(f"no zygote, each trial is an exec: {why}")


def warm_up_check(runner: Runner, made: Record, reads: Sequence[str]) -> None:
    """Have a zygote for the check, if it comes to the same in it: ``check_preload`` says what it imported.

    Args:
        runner: what it is for.
        made: the record of a golden run, with what the check said by exec.
        reads: what the check read.
    """
    assert made.subject.check is not None
    argv = made.subject.command(made.subject.check, runner.box)[0]
    if not reads or parse(argv) is None:
        return
    try:
        preload, _ = _tried(runner, made, argv, reads, CHECK)
        if preload is not None:
            told = runner.check(made.subject, made.acks)
            if not told.failed and told.value == made.value:
                made.check_preload = preload
                return
    except ZygoteError as error:
        made.warnings.append(f"no zygote for the check, each is an exec: {error}")
    runner.choose_start(made.subject, made.preload)


def _tried(
    runner: Runner, made: Record, argv: Sequence[str], reads: Sequence[str], role: str
) -> tuple[Preload | None, str]:
    """Return what a zygote could do beforehand, or why there is none."""
    found = installed_modules(argv, reads)
    modules, places = list(found), tuple(found.items())
    sources = tuple(own_sources(argv, reads))
    bad: tuple[str, ...] = ()
    for _ in range(_ATTEMPTS):
        preload = Preload(tuple(modules), places, sources)
        bad = runner.warm(made.subject, preload, role)
        if not bad:
            return preload, ""
        # What is wrong with a module is most often wrong with its package, which is imported first.
        packages = {name.partition(".")[0] for name in bad}
        modules = [name for name in modules if name.partition(".")[0] not in packages]
    why = "fails, finds another file than the run did, starts threads or opens files"
    return None, f"importing {bad[0]} beforehand {why}"
