"""Whether a run leaves the time of day in whole seconds: two runs within one second would leave the same."""

from __future__ import annotations

import os
import re
import time
from pathlib import Path

from outlive_harness.disk.tree import Tree, readable

#: Bytes that are looked at, of one file and of all.
_MOST, _MOST_IN_ALL = 1 << 20, 1 << 24
#: How a moment is written, without its day.
_FORMS = ("%H:%M:%S", "%H%M%S", "%H-%M-%S", "%H_%M_%S", "%I:%M:%S")
#: Seconds of a run that are looked for; the last ones, in which outputs are mostly written.
_SECONDS = 30


def tells_the_time(box: Path, made: Tree, began: float, ended: float) -> bool:
    """Return whether a run left a moment of its own in the content or the name of a file.

    Args:
        box: the directory of the files.
        made: the files that the run made or changed.
        began: when the run began, in seconds since 1970.
        ended: when it ended.
    """
    moments: set[str] = set()
    for second in range(max(int(began), int(ended) - _SECONDS), int(ended) + 1):
        times = time.localtime(second), time.gmtime(second)
        moments |= {str(second), *(time.strftime(form, one) for form in _FORMS for one in times)}
    pattern = re.compile(rb"(?<!\d)(?:%s)(?!\d)" % "|".join(moments).encode())
    left = _MOST_IN_ALL
    for path, entry in made.items():
        if pattern.search(os.fsencode(path)):
            return True
        if entry.kind != "file" or entry.size > min(_MOST, left):
            continue
        left -= entry.size
        with readable(box / path):
            if pattern.search((box / path).read_bytes()):
                return True
    return False


def wait_for_another_second(moment: float) -> None:
    """Wait, for a second at most, until the clock shows another second than at a moment."""
    time.sleep(min(1.0, max(0.0, int(moment) + 1 - time.time())))
