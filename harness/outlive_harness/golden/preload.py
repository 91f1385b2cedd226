"""Whether runs may be forked from a zygote, and the modules that it imports, learned from the golden run."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from outlive_harness.launch.pool import BODY, CHECK
from outlive_harness.launch.zygote import Preload, ZygoteError, installed_modules, own_sources, parse
from outlive_harness.world.runner import Runner

from .record import Record

#: A zygote does not pay for runs of fewer ops.
LEAST_OPS = 6
#: Zygotes that are tried, each without the modules that spoiled the one before.
_ATTEMPTS = 6


def learn_preload(runner: Runner, record: Record) -> None:
    """Start a zygote if possible, and note its imports as ``preload``; else note a warning.

    Args:
        runner: the runner that uses the zygote.
        record: the record of a golden run, with the paths that the run read.
    """
    spec = record.spec
    argv = spec.command(spec.argv, runner.box.path)[0]
    path = spec.environment(runner.box.path).get("PATH")
    if record.refused or len(record.ops) < LEAST_OPS or parse(argv, path) is None:
        return
    try:
        record.preload, why = _tried(runner, record, argv, record.reads, BODY)
    except ZygoteError as error:
        why = str(error)
    if why:
        runner.cool()
        record.warnings.append(f"no zygote, each trial is an exec: {why}")


def learn_check_preload(
    runner: Runner, record: Record, reads: Sequence[str], gives: Callable[[], bool], role: str = CHECK
) -> None:
    """Start a zygote for a check, and note its imports if the check gives the same in it as by exec.

    Args:
        runner: the runner that uses the zygote.
        record: the record of a golden run.
        reads: the paths that the check read.
        gives: runs the check; returns whether it gives what it gave by exec.
        role: CHECK or CRASH_CHECK.
    """
    check = record.spec.check if role == CHECK else record.spec.crash_check
    assert check is not None
    argv = record.spec.command(check, runner.box.path)[0]
    if not reads or parse(argv) is None:
        return
    try:
        preload, _ = _tried(runner, record, argv, reads, role)
        if preload is not None and gives():
            record.check_preloads[role] = preload
            return
    except ZygoteError as error:
        record.warnings.append(f"no zygote for the check, each is an exec: {error}")
    runner.choose_start(record.spec, record.preload, record.check_preloads)


def _tried(
    runner: Runner, record: Record, argv: Sequence[str], reads: Sequence[str], role: str
) -> tuple[Preload | None, str]:
    """Return what a zygote can import beforehand, or None and the reason."""
    found = installed_modules(argv, reads)
    modules, places = list(found), tuple(found.items())
    sources = tuple(own_sources(argv, reads))
    bad: tuple[str, ...] = ()
    for _ in range(_ATTEMPTS):
        preload = Preload(tuple(modules), places, sources)
        bad = runner.warm(record.spec, preload, role)
        if not bad:
            return preload, ""
        # A module's trouble is most often its package's, which is imported first.
        packages = {name.partition(".")[0] for name in bad}
        modules = [name for name in modules if name.partition(".")[0] not in packages]
    why = "fails, finds another file than the run did, starts threads or opens files"
    return None, f"importing {bad[0]} beforehand {why}"
