"""The decoder of a run's calls: a table decides by the call's number."""

from __future__ import annotations

from dataclasses import replace
from functools import cache, cached_property

from outlive_harness import abi
from outlive_harness.intercept.filter import CONTACTS, INTERCEPTED, LOOKS
from outlive_harness.intercept.listener import Call
from outlive_harness.intercept.rewritten import Rewritten
from outlive_harness.intercept.task import file_system
from outlive_harness.results.ops import Op

from . import attributes, memory_maps, mounts, names, opening, outside, sizes, syncs, writing
from .context import Context, Decode

#: How each call is decoded.
CALLS: dict[str, Decode] = {
    **writing.CALLS,
    **sizes.CALLS,
    **opening.CALLS,
    **names.CALLS,
    **attributes.CALLS,
    **syncs.CALLS,
    **memory_maps.CALLS,
    **mounts.CALLS,
    **outside.CALLS,
}


@cache
def _native_calls() -> tuple[abi.Abi, dict[int, tuple[str, Decode]]]:
    """Return this machine's architecture, and the name and decoder of each stopped call by its number."""
    table = abi.native()
    assert table is not None
    stopped = (name for name in (*INTERCEPTED, *CONTACTS, *LOOKS) if name in table.numbers)
    return table, {table.numbers[name]: (name, CALLS[name]) for name in stopped}


class Decoder(Context):
    """Turns the calls of one run into ops."""

    @cached_property
    def _rewritten(self) -> Rewritten | None:
        # Only on tmpfs: asking for writers opens and closes the file, which changes the answer on a real
        # disk.
        is_asked = self.wants_data and file_system(self.box) == abi.TMPFS_MAGIC
        return Rewritten(self.box) if is_asked else None

    def op(self, call: Call) -> Op | None:
        """Return the op that a stopped call is; None if it is not about the box.

        Raises:
            OSError: the task cannot be read: it died, or the kernel does not allow it.
        """
        if self.made.awaited:
            self.made.settle(call.tid)
        table, decoders = _native_calls()
        if call.audit != table.audit or (table.foreign_from and call.number >= table.foreign_from):
            self.blind["", "calls of a foreign architecture (32-bit or x32 code) were not understood"] = None
            return None
        try:
            name, decode = decoders[call.number]
        except KeyError:  # a number without a call: the kernel fails it with ENOSYS
            return None
        op = decode(self, name, call.tid, call.arguments)
        if self._rewritten is not None and op is not None and op.detail is not None:
            closed = self._rewritten.closed_before(op)
            if closed:
                op.detail = replace(op.detail, closed=closed)
        return op
