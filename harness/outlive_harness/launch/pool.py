"""The zygotes of one worker: which of them replace exec, and which are not tried again."""

from __future__ import annotations

from collections import Counter
from pathlib import Path

from outlive_harness.results.run_spec import RunSpec

from .zygote import Preload, Zygote, ZygoteError

#: The most zygotes of a worker, which goes back and forth between scenarios.
_ZYGOTES = 6
#: Deaths after which a zygote is not replaced.
_LIVES = 3
#: The programs of a pipeline that may have a zygote.
BODY, CHECK, CRASH_CHECK = "body", "check", "crash_check"

_Key = tuple[str, str, Preload]  # program, role, preload


class ZygotePool:
    """The zygotes of one worker.

    Attributes:
        fell_back: why exec was used instead of a chosen zygote; "" if it was not.
    """

    def __init__(self) -> None:
        self.fell_back = ""
        #: the most recently used is last
        self._zygotes: dict[_Key, Zygote] = {}
        #: those that replace exec, by role
        self._chosen: dict[str, _Key] = {}
        #: the deaths of each, and why it is not tried again
        self._deaths: Counter[_Key] = Counter()
        self._unfit: dict[_Key, str] = {}

    @property
    def pids(self) -> list[int]:
        """The process ids of the zygotes, which are not part of any run."""
        return [zygote.pid for zygote in self._zygotes.values()]

    def is_warm(self, spec: RunSpec) -> bool:
        """Return whether runs of a pipeline are forked from a zygote."""
        return BODY in self._chosen and self._chosen[BODY][0] == spec.program()

    def of(self, spec: RunSpec, role: str | None) -> Zygote | None:
        """Return the zygote of a program; None if it is to be executed."""
        key = self._chosen.get(role) if role is not None else None
        return self._zygotes[key] if key is not None and key[0] == spec.program() else None

    def warm(
        self, spec: RunSpec, argv: tuple[str, ...], box: Path, preload: Preload, role: str
    ) -> tuple[str, ...]:
        """Use a zygote from now on; return the modules that it must not import.

        Args:
            spec: the pipeline.
            argv: the program of the role.
            box: where it runs.
            preload: what the zygote does before its trials.
            role: BODY, CHECK or CRASH_CHECK.

        Raises:
            ZygoteError: no zygote can serve it.
        """
        key = spec.program(), role, preload
        self._chosen.pop(role, None)
        zygote = self._zygotes.pop(key, None)
        if key in self._unfit:
            raise ZygoteError(self._unfit[key])
        if zygote is None:
            while len(self._zygotes) >= _ZYGOTES:
                oldest = next(one for one in self._zygotes if one not in self._chosen.values())
                self._zygotes.pop(oldest).close()
            command, cwd = spec.command(argv, box)
            try:
                env = spec.environment(box, argv)
                zygote = Zygote(command, cwd=cwd, env=env, preload=preload, instant=spec.instant)
            except ZygoteError as error:
                self._unfit[key] = str(error)
                raise
        self._zygotes[key] = zygote
        self._chosen[role] = key
        return zygote.bad

    def failed(self, role: str | None, error: ZygoteError) -> None:
        """Note that the zygote of a role is gone, and use exec from now on."""
        assert role is not None
        key = self._chosen[role]
        self._zygotes.pop(key).close()
        self.cool()
        self.fell_back = str(error)
        self._deaths[key] += 1
        if self._deaths[key] == _LIVES:
            self._unfit[key] = self.fell_back

    def cool(self) -> None:
        """Use exec from now on."""
        self._chosen.clear()

    def close(self) -> None:
        """End the zygotes."""
        self.cool()
        while self._zygotes:
            self._zygotes.popitem()[1].close()
