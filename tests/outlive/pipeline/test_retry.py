"""Retry: the pauses, their bounds, and the error that comes out."""

import errno
import math
import os
import sys

import pytest

from outlive import Retry, atomic_write

pytest.importorskip("tenacity", reason="needs tenacity: pip install 'outlive[retry]'")


class World:
    """A clock that only sleeping moves, and a function that fails."""

    def __init__(self, *errors):
        self.errors, self.now, self.sleeps, self.calls = list(errors), 0.0, [], 0

    def sleep(self, seconds):
        self.sleeps.append(seconds)
        self.now += seconds

    def retry(self, on=OSError, **options):
        options = {"random": lambda: 1.0, **options}
        return Retry(on, sleep=self.sleep, clock=lambda: self.now, **options)

    def work(self, value="done"):
        self.calls += 1
        if self.errors:
            raise self.errors.pop(0)
        return value


def test_the_pauses_double_up_to_the_longest():
    """Each pause is the drawn part of twice the one before, at most `most`."""
    world = World(*[OSError("flaky") for _ in range(6)])
    draws = iter([1.0, 0.5, 1.0, 0.25, 1.0, 0.0])
    retry = world.retry(attempts=7, first=1, most=10, random=lambda: next(draws))
    assert retry.call(world.work, value=5) == 5
    assert world.sleeps == [1, 1, 4, 2, 10, 0]


def test_attempts_are_bounded():
    """After the last attempt the function's own error comes out, with a note, and nobody sleeps."""
    errors = [OSError(number) for number in range(9)]
    world = World(*errors)
    with pytest.raises(OSError, match="2") as caught:
        world.retry(attempts=3).call(world.work)
    assert caught.value is errors[2]
    assert caught.value.__notes__ == ["gave up after 3 attempts in 1.5 s"]
    assert world.sleeps == [0.5, 1]


def test_total_time_is_bounded():
    """A pause that would end after `total` is not begun; one that ends with it is."""
    world = World(*[OSError("flaky") for _ in range(9)])
    with pytest.raises(OSError, match="flaky") as caught:
        world.retry(attempts=9, first=1, total=7).call(world.work)
    assert (world.sleeps, world.calls) == ([1, 2, 4], 4)
    assert caught.value.__notes__ == ["gave up after 4 attempts in 7.0 s"]


@pytest.mark.parametrize("way", ["hint", "attribute"])
def test_a_hint_is_honoured_within_the_total(way):
    """The seconds that the error tells are waited, longer than `most` too, but never past `total`."""
    errors = [OSError("flaky"), OSError("flaky"), OSError("flaky")]
    told = dict(zip(errors, [40, None, 21], strict=True))
    for error, seconds in told.items():
        error.retry_after = seconds if way == "attribute" else None
    world = World(*errors)
    with pytest.raises(OSError, match="flaky"):
        world.retry(hint=told.get if way == "hint" else None).call(world.work)
    assert world.sleeps == [40, 1]


@pytest.mark.parametrize("hint", [-1, math.nan, math.inf, 10**400, "7", True])
def test_what_is_no_hint(hint):
    """A hint that is no number of seconds is none."""
    world = World(OSError("flaky"))
    assert world.retry(hint=lambda _error: hint).call(world.work) == "done"
    assert world.sleeps == [0.5]


@pytest.mark.parametrize("error", [ValueError(), KeyboardInterrupt(), SystemExit()])
def test_what_is_not_named_comes_through(error):
    """Nothing but what `on` names is tried again."""
    world = World(error)
    with pytest.raises(type(error)) as caught:
        world.retry((ConnectionError, TimeoutError)).call(world.work)
    assert caught.value is error
    assert (world.calls, world.sleeps) == (1, [])
    assert not hasattr(error, "__notes__")


def test_an_error_of_durability_is_never_tried_again():
    """A failed fsync, which carries the mark, comes through though `on` names its class."""
    error = OSError("flaky")
    error.outlive_durability = True
    world = World(error)
    with pytest.raises(OSError, match="flaky"):
        world.retry().call(world.work)
    assert (world.calls, world.sleeps) == (1, [])


def test_a_hint_that_fails_is_none():
    """What the caller sees is the function's own error, after all attempts, with a note of the hint's."""

    def hint(_error):
        raise KeyError("no header")

    calls = []

    def fails():
        calls.append(1)
        raise OSError("the true error")

    with pytest.raises(OSError, match="the true error") as raised:
        Retry(on=OSError, attempts=3, hint=hint, sleep=lambda _: None).call(fails)
    assert len(calls) == 3
    assert "its hint failed (KeyError('no header'))" in raised.value.__notes__


def test_as_a_decorator():
    """The decorated function keeps its name and arguments, and each call has attempts of its own."""
    world = World(OSError("flaky"), OSError("flaky"))

    @world.retry(attempts=2)
    def fetch(value):
        return world.work(value)

    assert fetch.__name__ == "fetch"
    world.errors = [OSError("flaky")]
    assert fetch(3) == 3
    world.errors = [OSError("flaky")]
    assert fetch(value=4) == 4


def test_the_default_jitter_is_within_its_bounds():
    """Without a random of one's own the pauses lie between nothing and the longest."""
    world = World(*[OSError("flaky") for _ in range(40)])
    world.retry(attempts=41, total=1e9, most=2, random=None).call(world.work)
    assert all(0 <= pause < 2 for pause in world.sleeps)
    assert len(set(world.sleeps)) > 1


def test_without_tenacity(monkeypatch):
    """What is missing is told with the command that installs it."""
    monkeypatch.setitem(sys.modules, "tenacity", None)
    with pytest.raises(ModuleNotFoundError, match=r"pip install 'outlive\[retry\]'"):
        Retry(OSError).call(int)


async def coroutine():
    """Do nothing."""


def generator():
    """Give nothing."""
    yield


class Callable:
    """An object whose call is async."""

    async def __call__(self):
        """Do nothing."""


def test_keywords_are_the_functions_own():
    """A function may have keywords of any name."""
    retry = Retry(OSError)
    for keywords in ({"self": 1}, {"function": 1}, {"fn": 1}):
        assert retry(dict)(**keywords) == retry.call(dict, **keywords) == keywords


@pytest.mark.parametrize("function", [coroutine, generator, Callable(), 5])
def test_functions_that_cannot_be_retried(function):
    """What has not run when its call returns is refused, called or decorated."""
    for use in (Retry(OSError), Retry(OSError).call):
        with pytest.raises(TypeError, match=r"^function="):
            use(function)


@pytest.mark.parametrize(
    ("on", "options", "kind", "message"),
    [
        (KeyboardInterrupt, {}, TypeError, "^on=<class 'KeyboardInterrupt'> is not a subclass"),
        ((OSError, BaseException), {}, TypeError, "^on="),
        ((), {}, TypeError, r"^on=\(\) is not"),
        (OSError(), {}, TypeError, r"^on=OSError\(\) is not"),
        (OSError, {"attempts": 0}, ValueError, "^attempts=0 is less than 1"),
        (OSError, {"attempts": 2.5}, TypeError, r"^attempts=2\.5 is not a whole number"),
        (OSError, {"total": -1}, ValueError, "^total=-1 is not"),
        (OSError, {"first": "1"}, ValueError, "^first='1' is not"),
        (OSError, {"most": math.inf}, ValueError, "^most=inf is not"),
    ],
)
def test_bad_arguments(on, options, kind, message):
    """What cannot be is refused by name and value."""
    with pytest.raises(kind, match=message):
        Retry(on, **options)


def test_a_failed_fsync_of_ours_is_not_tried_again(tmp_path, monkeypatch):
    """The kernel may have dropped the data: a second fsync that succeeds would prove nothing."""
    calls = []

    def failing(_descriptor):
        calls.append(1)
        raise OSError(errno.EIO, "the disk fails")

    monkeypatch.setattr(os, "fsync", failing)
    with pytest.raises(OSError, match="the disk fails"):
        Retry(on=OSError, sleep=lambda _: None).call(atomic_write, tmp_path / "out", "x")
    assert calls == [1]
