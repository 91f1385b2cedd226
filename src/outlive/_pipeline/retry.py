"""`Retry`: another attempt at what fails for a while, after a random pause.

The pause is exponential with full jitter: M. Brooker, "Exponential Backoff and Jitter", AWS Architecture
Blog, 2015. The loop is tenacity's (the extra `retry`), which is imported at the first call.

An error of durability is never retried: after a failed fsync the kernel may have dropped the data and report
success the next time. Code that raises such an error sets `outlive_durability = True` on it.
"""

from __future__ import annotations

import time
from functools import partial, wraps
from typing import TYPE_CHECKING, Any, ParamSpec, TypeVar

from outlive._system.arguments import shown

if TYPE_CHECKING:
    from collections.abc import Callable

#: Seconds; larger numbers, infinity, and an int that no float holds are refused.
_LONGEST = 1e9

P = ParamSpec("P")
R = TypeVar("R")


class Retry:
    """How to retry: `Retry(on=OSError).call(f)`, or as a decorator, `@Retry(on=OSError)`.

    The pause after attempt n (from 0) is drawn evenly between 0 and `min(most, first * 2**n)`. If the error
    says how long to wait, by `hint` or by an attribute `retry_after`, the pause is that long instead.

    The last error of the function is raised, with a note of the number of attempts.

    Args:
        on: The exception class, or a tuple of them, after which another attempt makes sense. All other errors
            are raised at once, as are those of durability (`outlive_durability` is true).
        attempts: The most calls.
        total: Seconds from the start of the first call; no pause is begun that would end later.
        first: The longest first pause, in seconds.
        most: The longest pause, in seconds, unless the error says how long to wait.
        hint: A function that returns, for an error, the seconds to wait, or None. Anything but a number from
            0 is ignored. If the function raises, the error gets a note.
        sleep: A function that is called with the seconds of each pause.
        clock: A function that returns the time in seconds.
        random: A function that returns a number from 0 up to 1; None means that of the module `random`.

    Raises:
        TypeError: An argument has the wrong type, or `on` names no subclass of `Exception`.
        ValueError: A number is out of range.
    """

    __slots__ = ("attempts", "clock", "first", "hint", "most", "on", "random", "sleep", "total")

    def __init__(  # noqa: PLR0913 - all but one have a default, and are given by name
        self,
        on: type[Exception] | tuple[type[Exception], ...],
        *,
        attempts: int = 5,
        total: float = 60.0,
        first: float = 0.5,
        most: float = 30.0,
        hint: Callable[[Exception], float | None] | None = None,
        sleep: Callable[[float], object] = time.sleep,
        clock: Callable[[], float] = time.monotonic,
        random: Callable[[], float] | None = None,
    ) -> None:
        self.on = _checked_classes(on)
        if type(attempts) is not int:  # isinstance accepts True
            raise TypeError(f"attempts={shown(attempts)} is not a whole number")
        if attempts < 1:
            raise ValueError(f"attempts={attempts} is less than 1")
        for name, value in (("total", total), ("first", first), ("most", most)):
            if not _is_seconds(value):
                raise ValueError(f"{name}={shown(value)} is not a number of seconds from 0")
        self.attempts, self.total, self.first, self.most = attempts, total, first, most
        self.hint, self.sleep, self.clock, self.random = hint, sleep, clock, random

    def __call__(self, function: Callable[P, R]) -> Callable[P, R]:
        """Return the function with retries.

        Raises:
            TypeError: It is not a function; or it is async or a generator, whose call cannot fail.
        """
        _check_function(function)

        @wraps(function)
        def retried(*args: P.args, **kwargs: P.kwargs) -> R:
            return self.call(function, *args, **kwargs)

        return retried

    def call(self, function: Callable[P, R], /, *args: P.args, **kwargs: P.kwargs) -> R:
        """Call the function until it returns, or raise its last error.

        Raises:
            TypeError: As for the decorator.
            ModuleNotFoundError: tenacity is not installed.
        """
        _check_function(function)
        try:
            import tenacity  # noqa: PLC0415 - an extra
        except ModuleNotFoundError as error:
            message = "Retry needs tenacity: pip install 'outlive[retry]'"
            raise ModuleNotFoundError(message, name="tenacity") from error
        course = _Course(self)
        retrying = tenacity.Retrying(
            sleep=self.sleep,  # type: ignore[arg-type]  # its result is not used
            retry=tenacity.retry_if_exception(self._wanted),
            stop=course.stop,
            wait=course.pause,
            reraise=True,
        )
        return retrying(partial(function, *args, **kwargs))  # its keywords may have the names of tenacity's

    def _wanted(self, error: BaseException) -> bool:
        return isinstance(error, self.on) and not getattr(error, "outlive_durability", False)

    def pause(self, error: Exception, number: int) -> float:
        """Return the seconds to wait after an attempt, counted from 0, has failed with an error."""
        for hint in (self._hinted(error), getattr(error, "retry_after", None)):
            if _is_seconds(hint):
                return float(hint)  # type: ignore[arg-type]  # _is_seconds has seen that it is a number
        draw = self.random or _default_random()
        return draw() * min(self.most, self.first * 2.0 ** min(number, 1000))

    def _hinted(self, error: Exception) -> float | None:
        try:
            return self.hint(error) if self.hint else None
        except Exception as another:  # noqa: BLE001 - the function's error is the one that is raised
            error.add_note(f"its hint failed ({another!r})")
            return None


class _Course:
    """The attempts of one call: each pause is drawn once, whether tenacity asks `stop` or `wait` first."""

    def __init__(self, retry: Retry) -> None:
        self._retry = retry
        self._start = retry.clock()
        self._pauses: dict[int, float] = {}

    def pause(self, state: Any) -> float:  # noqa: ANN401 - tenacity's RetryCallState
        number = state.attempt_number - 1
        if number not in self._pauses:
            self._pauses[number] = self._retry.pause(state.outcome.exception(), number)
        return self._pauses[number]

    def stop(self, state: Any) -> bool:  # noqa: ANN401 - as above
        number, spent = state.attempt_number, self._retry.clock() - self._start
        if number < self._retry.attempts and spent + self.pause(state) <= self._retry.total:
            return False
        plural = "" if number == 1 else "s"
        state.outcome.exception().add_note(f"gave up after {number} attempt{plural} in {spent:.1f} s")
        return True


def _default_random() -> Callable[[], float]:
    import random  # noqa: PLC0415 - keeps `import outlive` light

    return random.random


def _is_seconds(value: object) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool) and 0 <= value <= _LONGEST


def _checked_classes(on: object) -> tuple[type[Exception], ...]:
    classes = on if isinstance(on, tuple) else (on,)
    if not classes or not all(isinstance(one, type) and issubclass(one, Exception) for one in classes):
        raise TypeError(f"on={shown(on)} is not a subclass of Exception, nor a tuple of them")
    return classes


def _check_function(function: object) -> None:
    import inspect  # noqa: PLC0415 - keeps `import outlive` light

    if not callable(function):
        raise TypeError(f"function={shown(function)} is not a function")
    kinds = (inspect.iscoroutinefunction, inspect.isgeneratorfunction, inspect.isasyncgenfunction)
    called = vars(type(function)).get("__call__")  # of a callable object
    if any(is_kind(function) or is_kind(called) for is_kind in kinds):
        raise TypeError(f"function={shown(function)} is async or a generator: its call runs none of its body")
