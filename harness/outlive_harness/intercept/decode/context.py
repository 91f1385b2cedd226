"""What the decoders of all families share: one run's files, and what it did that no op shows."""

from __future__ import annotations

from collections.abc import Callable, Collection

from outlive_harness.intercept.listener import Arguments
from outlive_harness.intercept.lookup import Found, Keeper, Lookup
from outlive_harness.intercept.task import umask
from outlive_harness.results.ops import Detail, Op


class Context(Lookup):
    """One run whose calls are decoded.

    Args:
        box: the real path of the box.
        data: whether ops carry the bytes that they write, and all else that the model of the disk needs; a
            Keeper keeps the bytes outside the ops.
        places: whether writes carry their offset in the file: finding it out takes half of an op's time.
        reads: whether to note the files that are read outside the box.
        guarded: real paths outside the box that must not be changed: a call that would is to fail.
        tmp: see Lookup.
        spared: children of this process that are not part of the run, and get no signal from it.

    Attributes:
        reads: paths outside the box that were opened, and programs that ran, as an ordered set; None if not
            wanted.
        effects: addresses outside the run's processes that it connected or sent to, with the number of calls.
        looked: paths in the box that were to be read or asked for, whether they exist or not.
        blind: (path, or "" for the whole box; what was not seen there), as an ordered set.
        is_mapped: whether a file of the box was mapped for reading from a descriptor open for writing.
    """

    def __init__(
        self,
        box: bytes,
        *,
        data: bool | Keeper = False,
        places: bool = True,
        reads: bool = False,
        guarded: Collection[bytes] = (),
        tmp: str = "",
        spared: Collection[int] = (),
    ) -> None:
        super().__init__(box, data=data, guarded=guarded, tmp=tmp)
        self.wants_places = places
        self.spared = spared
        self.reads: dict[str, None] | None = {} if reads else None
        self.effects: dict[str, int] = {}
        self.looked: dict[str, None] = {}
        self.blind: dict[tuple[str, str], None] = {}
        self.is_mapped = False

    def detail_of_new(self, tid: int, found: Found) -> Detail | None:
        """Return the status of a file that a call may make, and the task's umask, if details are wanted."""
        return Detail(found.place.look(), umask=umask(tid)) if self.wants_data else None


#: Decodes a call: the run, the call's name, the thread, its arguments. Returns None for a call that is not an
#: op on the box.
Decode = Callable[[Context, str, int, Arguments], Op | None]
