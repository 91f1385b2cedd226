"""The values of outputs: asked of a process that reads, and put into trees in place of digests.

In such a tree the entry of an output with a reader holds the digest of its value, so whatever compares trees
compares values. A directory that a reader takes as one output has one entry, and none for what is below it.
"""

from __future__ import annotations

import json
import os
import stat
import subprocess
import sys
import tempfile
from collections import OrderedDict
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from outlive_harness.disk.tree import Entry, Tree, digest_file, scan, tree_digest
from outlive_harness.readers.formats import is_database
from outlive_harness.results.reader_names import DATABASE, JOURNALS
from outlive_harness.results.run_spec import RunSpec

#: Seconds and bytes that one reading may take.
_SECONDS, _MEMORY = 60.0, 4 << 30
#: How many values a worker remembers.
_KEPT = 1 << 14
#: How the digest of a value begins, and what stands for the value of what cannot be read.
_VALUE, _FAILED = "=", "!"


class ReadingError(RuntimeError):
    """The process that reads is gone."""


class Valued(Entry):
    """The entry of an output that is judged by its value; its size is not compared.

    Attributes:
        reader: the reader.
        failed: why there is no value, since what is there is not whole; "" if there is one.
        is_empty: whether it is a database of which all tables are empty.
    """

    reader = ""
    failed = ""
    is_empty = False

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Valued) and self._compared() == other._compared()

    def __ne__(self, other: object) -> bool:
        return not self == other

    def __hash__(self) -> int:
        return hash(self._compared())

    def _compared(self) -> tuple[str, int, str]:
        return self.kind, self.mode, self.digest


class Reading:
    """One worker's access to the values of outputs.

    Args:
        boxes: a regular expression that matches the path of any worker's box.
    """

    def __init__(self, boxes: str) -> None:
        self._boxes = boxes
        self._process: _Process | None = None
        self._known: OrderedDict[tuple[object, ...], dict[str, Any]] = OrderedDict()

    @property
    def pids(self) -> list[int]:
        """The process id of the process that reads, if there is one."""
        return [self._process.pid] if self._process is not None else []

    def valued(self, spec: RunSpec, tree: Tree, root: Path) -> Tree:
        """Return a tree in which outputs that have a reader are entered with the digest of their value.

        Args:
            spec: says how outputs are read.
            tree: names, types, digests.
            root: where these files are.
        """
        if not (spec.read or spec.mask):
            return tree
        found: Tree = {}
        one_output = ""
        for path in sorted(tree):
            if one_output and path.startswith(one_output):
                continue
            entry, reader = tree[path], spec.reader_of(path)
            if entry.kind == "dir" and reader and spec.is_one_output(path):
                one_output = f"{path}/"
            elif entry.kind != "file" or not reader:
                found[path] = entry
                continue
            value = self._entered(spec, reader, path, tree, root)
            if value is not None:
                found[path] = value
        return found

    def _entered(self, spec: RunSpec, reader: str, path: str, tree: Tree, root: Path) -> Valued | None:
        """Return the entry of an output; None if its reader says that nothing is there."""
        entry = tree[path]
        if entry.kind == "dir":
            below = {name: one for name, one in tree.items() if name.startswith(f"{path}/")}
            content, size = tree_digest(below), sum(one.size for one in below.values())
        else:
            beside = [tree[path + end].digest for end in JOURNALS if path + end in tree]
            content, size = " ".join([entry.digest, *beside]), entry.size
        told = self._told(spec, reader, f"{path} {content}", str(root / path))
        if "absent" in told:
            return None
        made = Valued(entry.kind, entry.mode, size, _VALUE + told["value"] if "value" in told else _FAILED)
        made.reader, made.failed, made.is_empty = reader, told.get("failed", ""), told.get("is_empty", False)
        return made

    def digest(self, spec: RunSpec, full: str, path: str, box: bytes) -> str | None:
        """Return the digest of the content or value of one output; None if it has none.

        Args:
            spec: says how outputs are read.
            full: where it is now.
            path: the output's path.
            box: the path of the box, which is left out of contents.
        """
        reader = spec.reader_of(path)
        if not spec.has_reader(path) and spec.is_output(path) and is_database(full):
            reader = DATABASE
        if stat.S_ISDIR(os.lstat(full).st_mode):
            if not reader or not spec.is_one_output(path):
                return None
            content = tree_digest(scan(Path(full), box=box))
        else:
            content = digest_file(full, box)
            if not reader:
                return content
            beside = (digest_file(full + end, box) for end in JOURNALS if os.path.isfile(full + end))
            content = " ".join([content, *beside])
        told = self._told(spec, reader, f"{path} {content}", full)
        return _VALUE + told["value"] if "value" in told else None

    def start(self, spec: RunSpec) -> None:
        """Start the process that reads, if a pipeline's outputs have readers."""
        if (spec.read or spec.mask) and (self._process is None or self._process.scenario != spec.readers):
            self.close()
            self._process = _Process(spec.readers, dict(spec.environ))

    def difference(self, spec: RunSpec, reader: str, golden: Path, here: Path) -> list[str]:
        """Return where two versions of an output differ, in the words of its reader."""
        told = self._asked(spec, "difference", reader, str(here), str(golden))
        return told.get("lines") or [told.get("failed", "here: nothing that a reader sees")]

    def proposed(self, spec: RunSpec, golden: Path, here: Path) -> tuple[str, list[str]]:
        """Return a reader and masks under which two versions of a file are equal; empty if not known."""
        told = self._asked(spec, "propose", "", str(here), str(golden))
        return told.get("reader", ""), told.get("masks", [])

    def _told(self, spec: RunSpec, reader: str, content: str, path: str) -> dict[str, Any]:
        """Return what is told of an output with a content, which is read once."""
        key = (reader, spec.mask, spec.readers, content)
        if key not in self._known:
            self._known[key] = self._asked(spec, "value", reader, path)
            if len(self._known) > _KEPT:
                self._known.popitem(last=False)
        self._known.move_to_end(key)
        return self._known[key]

    def _asked(self, spec: RunSpec, what: str, reader: str, path: str, golden: str = "") -> dict[str, Any]:
        """Ask the process that reads, which is started anew if it is gone or loaded other functions."""
        request = {
            "what": what, "reader": reader, "path": path, "golden": golden, "masks": spec.mask,
            "boxes": self._boxes, "seconds": _SECONDS, "memory": _MEMORY,
        }  # fmt: skip
        for _ in range(2):
            if self._process is None or self._process.scenario != spec.readers:
                self.close()
                self._process = _Process(spec.readers, dict(spec.environ))
            try:
                return self._process.ask(request)
            except ReadingError as error:
                self.close()
                why = str(error)
        return {"failed": why}

    def close(self) -> None:
        """End the process that reads."""
        if self._process is not None:
            self._process.close()
            self._process = None


class _Process:
    """The process that reads.

    Args:
        scenario: the file, name and directory of a scenario with functions as readers; else empty.
        environ: its environment.
    """

    def __init__(self, scenario: tuple[str, ...], environ: Mapping[str, str]) -> None:
        self.scenario = scenario
        ours, theirs = os.pipe2(os.O_CLOEXEC), os.pipe2(os.O_CLOEXEC)
        #: a file, as nobody reads a pipe while readers fill it
        self._said = tempfile.TemporaryFile()  # noqa: SIM115 - closed by close()
        try:
            self._child = subprocess.Popen(
                [
                    sys.executable,
                    "-P",
                    "-m",
                    "outlive_harness.readers.serve",
                    str(ours[0]),
                    str(theirs[1]),
                    *scenario,
                ],
                env=environ,
                stdin=subprocess.DEVNULL,
                stdout=subprocess.DEVNULL,
                stderr=self._said,
                pass_fds=(ours[0], theirs[1]),
                start_new_session=True,
            )
        finally:
            os.close(ours[0])
            os.close(theirs[1])
        self._requests = open(ours[1], "w", encoding="utf-8")  # noqa: SIM115 - closed by close()
        self._replies = open(theirs[0], encoding="utf-8")  # noqa: SIM115

    @property
    def pid(self) -> int:
        return self._child.pid

    def ask(self, request: Mapping[str, Any]) -> dict[str, Any]:
        """Return what the process answers.

        Raises:
            ReadingError: it is gone; the message holds its last words.
        """
        try:
            self._requests.write(json.dumps(request) + "\n")
            self._requests.flush()
            line = self._replies.readline()
        except OSError as error:
            line, _ = "", error
        if not line:
            self._child.kill()
            self._child.wait()
            self._said.seek(0)
            said = self._said.read().decode(errors="replace")
            last = said.strip().splitlines()[-1:] or ["it said nothing"]
            raise ReadingError(f"the process that reads outputs ended: {last[0]}")
        answer: dict[str, Any] = json.loads(line)
        return answer

    def close(self) -> None:
        for file in (self._requests, self._replies):
            try:
                file.close()
            except OSError:  # a request that could not be written
                continue
        self._child.kill()
        self._child.wait()
        self._said.close()
