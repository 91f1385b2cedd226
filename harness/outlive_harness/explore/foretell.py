"""The forecast of a scenario's trials, in words."""

from __future__ import annotations

import time
from collections.abc import Sequence

from outlive_harness.search.forecast import Forecast
from outlive_harness.trial.first_look import FirstLook

#: Seconds of the budget that a long forecast proposes, and the length from which on it does.
_PROPOSED = 300


def in_words(forecast: Forecast, workers: int, processors: int, budget: float | None) -> str:
    """Return a forecast in words, with what a budget has room for.

    Args:
        forecast: the forecast.
        workers: the number of workers.
        processors: the number of processors.
        budget: the seconds that were asked for; None for no budget.
    """
    points = f"{forecast.points} point{'s' * (forecast.points != 1)}"
    seconds = forecast.seconds(workers, processors)
    text = f"{points}, about {duration(seconds)}"
    if workers > processors:
        idle = max(0.0, 1 - forecast.busy)
        text += f" on {workers} workers, as a run waits for {idle:.0%} of its time"
    left = _PROPOSED if forecast.until is None else max(0.0, forecast.until - time.time())
    if seconds <= left:
        return text
    count = forecast.within(left, workers, processors)
    return f"{text}; --budget {duration(budget or _PROPOSED, short=True)}: {_chosen(forecast, count)}"


def looked_in_words(faults: Sequence[str], looks: Sequence[FirstLook]) -> str:
    """Return what was seen of the crash states of a first run; "" if nothing was."""
    judged, points, wrong = (
        sum(numbers) for numbers in zip(*((one.judged, one.points, one.wrong) for one in looks), strict=True)
    )
    if not judged:
        return ""
    several = f"{judged} of {points}" if judged < points else f"all {judged}"
    if any(one.has_more for one in looks):
        several = f"{judged} of more than {points}"
    partial = f"an output is partial at {wrong} of them" if wrong else "no output is partial"
    return f"{', '.join(faults)}: the files at {several} crash points of the first run are judged: {partial}"


def _chosen(forecast: Forecast, count: int) -> str:
    """Return how many trials there is room for, and which those are."""
    if not count:
        return "no trial, as one takes longer"
    on_outputs = sum(forecast.on_outputs[:count])
    several = f", {', '.join(forecast.faults)} by turns" if len(forecast.faults) > 1 else ""
    there = sum(forecast.on_outputs)
    points = f"{count} point{'s' * (count != 1)}"
    return f"{points}, chosen for what differs most: {on_outputs} of {there} at ops on outputs{several}"


def duration(seconds: float, *, short: bool = False) -> str:
    """Return a duration in minutes, or in seconds if it is short: ``24 min``, or ``5m`` for an option."""
    if seconds < 100 or (short and seconds % 60):
        return f"{seconds:.0f}{'s' if short else ' s'}"
    return f"{seconds / 60:.0f}{'m' if short else ' min'}"
