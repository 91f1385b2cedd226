"""Runs small pipelines on a slow disk, cuts the power after each block write, and asks the model about it.

``python _slow_pipelines.py KIND PLACE`` prints a JSON object for each pipeline. It is a process of its own,
for it mounts, and reaps all its children.
"""

import json
import subprocess
import sys
from itertools import pairwise
from pathlib import Path

from _real_pipelines import PREAMBLE
from _slow_disk import Log, SlowDisk

from outlive_harness.disk.model import Disk
from outlive_harness.disk.power import PowerModel
from outlive_harness.disk.realfs import KINDS, device_of, mounted, seclude
from outlive_harness.intercept.supervisor import GO
from outlive_harness.launch.options import Host, Program, RunOptions
from outlive_harness.launch.reap import adopt_orphans
from outlive_harness.launch.run import run

#: Seconds that a block write takes.
DELAY = 0.01
OLD = "write('out', b'o' * 5000)"
MARK = "; write('mark', b'm', file=True)"
LOOKED_AT = (
    "fd = os.open('out', os.O_WRONLY | os.O_TRUNC); os.close(os.open('out', os.O_RDONLY));"
    "os.write(fd, b'n' * 20000); os.close(fd)"
)
#: Pipelines that differ in when the data of what they write anew reaches the disk.
PIPELINES = {
    "renamed over": "write('t', b'n' * 20000); os.rename('t', 'out')",
    "rewritten": "write('out', b'n' * 20000)",
    "rewritten while somebody looks": LOOKED_AT,
    "extended, filled, renamed over": (
        "write('t', b''); os.truncate('t', 8192); patch('t', b'n' * 8192, 0); os.rename('t', 'out')"
    ),
    "allocated, filled, renamed over": (
        "write('t', b''); allocate('t', 1, 0, 8192); append('t', b'n' * 8192); os.rename('t', 'out')"
    ),
    "pushed, renamed": "write('t', b'n' * 20000); push('t', 7); os.rename('t', 'new')",
}
#: How each file system is tried: the options of its mount, its profile, and whether new data comes last.
WAYS = {
    "ext4": [("", "ext4", True), (",dioread_lock", "ext4-ordered", False)],
    "xfs": [("", "xfs", True)],
    "btrfs": [("", "btrfs", True)],
}


def record(kind, place, source, options, held):
    """Run a pipeline on a slow disk; return the first files, its ops, the log, and its length before each."""
    image, where = place / "image", place / "mnt"
    with image.open("wb") as file:
        file.truncate(KINDS[kind].size)
    subprocess.run([*KINDS[kind].make, image], check=True, capture_output=True)
    box, ops, marks = where / "box", [], []
    python = [sys.executable, "-I", "-S", "-c"]
    with SlowDisk(image, place / "disk", held) as disk:
        with mounted(kind, disk.path, where, options):
            # Writes then go to the disk several at a time (LOOP_SET_DIRECT_IO).
            subprocess.run(["losetup", "--direct-io=on", f"/dev/{device_of(where)}"], check=True)
            box.mkdir()
            subprocess.run([*python, PREAMBLE + OLD], cwd=box, check=True)
            subprocess.run(["sync", "-f", where], check=True)
            initial = Disk.load(box)
            disk.delay(DELAY)

            def visit(op, _number):
                marks.append(disk.mark())
                ops.append(op)
                return GO

            argv = [*python, PREAMBLE + source + MARK]
            ran = run(
                Program(argv, cwd=box, env={}, box=box),
                RunOptions(timeout=60, visit=visit, data=True),
                Host(spared=[disk.pid]),
            )
            if ran.failure():
                raise RuntimeError(f"{ran.failure()}\n{ran.stderr}")
            marks.append(disk.mark())
            disk.release()
            disk.delay(0)
        disk.save(place / "log")
    return initial, ops, Log(image, place / "log"), marks


def moments(marks, end):
    """Return the ops after which the disk was so, and whether all must admit it, or one of them."""
    exact = [number for number, mark in enumerate(marks) if mark == end]
    if exact:
        return exact, True
    return [
        number + more
        for number, (one, two) in enumerate(pairwise(marks))
        if one < end < two
        for more in (0, 1)
    ], False


def examine(kind, place, source, options, profile, held):
    """Make each image, mount it, and ask."""
    initial, ops, log, marks = record(kind, place, source, options, held)
    model = PowerModel(initial, ops)
    denied, seen = [], {}
    ends = range(marks[0], marks[-1] + 1)
    images = {(end, lost): None for end in ends for lost in lost_of(log, end)}
    for end, lost in images:
        when, is_all = moments(marks, end)
        with mounted(kind, log.leave(place / "copy", end, lost), place / "mnt") as where:
            left = told(where / "box")
            seen[json.dumps(left)] = left
            for name in ("posix", profile):
                admitted = [model.under(name).admits(where / "box", at) for at in when]
                if not (all(admitted) if is_all else any(admitted)):
                    denied.append([name, when, left])
    return {"images": len(images), "denied": denied, "left": list(seen.values())}


def lost_of(log, end):
    """Return what a power cut may take of the log: nothing, and either half of what no flush came after."""
    loose = log.unflushed(end)
    return [frozenset(), frozenset(loose[::2]), frozenset(loose[1::2])]


def told(box):
    """Return what is in each file, in short: its length and the bytes that it is made of, in order."""
    return {
        str(path.relative_to(box)): [
            len(data),
            "".join(dict.fromkeys(chr(byte) if byte else "0" for byte in data)),
        ]
        for path in sorted(box.rglob("*"))
        if path.is_file() and (data := path.read_bytes()) is not None
    }


def main():
    adopt_orphans()
    seclude()
    kind, place = sys.argv[1], Path(sys.argv[2])
    for options, profile, is_last in WAYS[kind]:
        for name, source in PIPELINES.items():
            # Who waits for it would wait for long.
            held = b"n" if is_last and "push" not in source else b""
            found = examine(kind, place, source, options, profile, held)
            sys.stdout.write(
                json.dumps({"name": name, "profile": profile, "is_last": is_last, **found}) + "\n"
            )


if __name__ == "__main__":
    main()
