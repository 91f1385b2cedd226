"""Names of lost micro-ops, as replay ids have them.

``28`` is op 28 of the last run, ``28.1`` its first part, ``1/28`` an op of the first run.
"""

from __future__ import annotations

from bisect import bisect_left

from outlive_harness.disk.model.files import SIZE

from .closure import Closure
from .view import bits, value_without


class LostError(ValueError):
    """A set of lost micro-ops that is impossible: something else cannot have persisted without them."""


def mask_of(model: Closure, at: int, name: str) -> int:
    """Return the micro-ops with a name, as bits.

    Raises:
        LostError: there are none up to op *at*.
    """
    run, slash, rest = name.rpartition("/")
    starts = [*model.run.starts, len(model.history.ops)]
    earlier = len(starts) - 2
    which = _number(run, earlier) if slash else earlier + 1
    if not which:
        raise LostError(f"{name[:99]!r} is not of an earlier run; there are {earlier}")
    op, dot, part = rest.partition(".")
    start = starts[which - 1]
    most = max(min(at, starts[which]) - start, 0)
    number = _number(op, most)
    if not number:
        raise LostError(f"{name[:99]!r} is not the number of an op up to {most}")
    numbers = model.history.parts(start + number)
    if dot:
        which = _number(part, len(numbers))
        if not which:
            raise LostError(f"op {op} has no part {part[:99]!r}; it has {len(numbers)}")
        numbers = numbers[which - 1 : which]
    return sum(1 << number for number in numbers)


def _number(text: str, most: int) -> int:
    """Return a number from 1 to *most*; 0 if the text is not one."""
    valid = text.isascii() and text.isdigit() and len(text) <= len(str(most))
    return int(text) if valid and int(text) <= most else 0


def name_of(model: Closure, number: int) -> str:
    """Return the name of one micro-op."""
    micro = model.history.micros[number]
    alone = len(model.history.parts(micro.op)) == 1
    return _op_name(model, micro.op) if alone else f"{_op_name(model, micro.op)}.{micro.part}"


def _op_name(model: Closure, op: int) -> str:
    starts = model.run.starts
    run = bisect_left(starts, op)
    place = str(op - starts[run - 1])
    return place if run == len(starts) else f"{run}/{place}"


def names_of(model: Closure, at: int, dropped: int, *, returned: bool) -> tuple[str, ...]:
    """Return the names of lost micro-ops: of ops, where they are lost as a whole, else of their parts."""
    dropped = _with_unseen(model, at, dropped, returned=returned)
    names = []
    for op in dict.fromkeys(model.history.micros[number].op for number in bits(dropped)):
        numbers = model.history.parts(op)
        gone = [number for number in numbers if dropped >> number & 1]
        is_whole = len(gone) == len(numbers)
        names += [_op_name(model, op)] if is_whole else [name_of(model, number) for number in gone]
    return tuple(names)


def _with_unseen(model: Closure, at: int, dropped: int, *, returned: bool) -> int:
    """Count data past the end of a file as lost with the growth that would have shown it."""
    history = model.history
    micros, end = history.micros, history.end[at]
    held = model.durable(at, returned=returned)
    wider = dropped
    sizes: dict[int, int] = {}
    for number in reversed(list(bits(dropped))):
        data = number + 1
        if micros[number].what != "grow" or wider >> data & 1 or held >> data & 1:
            continue
        node = micros[number].changes[0].node
        if node not in sizes:
            sizes[node] = value_without(history, (SIZE, node, 0), end, wider)
        users = (other for other in model.needed_by[data] if other < end)
        if micros[data].start >= sizes[node] and all(wider >> other & 1 for other in users):
            wider |= 1 << data
    closed = model.close(at, wider, returned=returned)
    return wider if closed == wider else dropped
