"""Truth 5: what the pipeline acknowledged before the fault still holds after its recovery."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Sequence
from pathlib import Path

from outlive_harness.disk.tree import Tree
from outlive_harness.results.findings import Finding
from outlive_harness.results.run_spec import RunSpec


def digest_text(text: str) -> str:
    """Return a text's digest, to append to a tree's: equal files with another text are another state."""
    return "+" + hashlib.blake2b(text.encode(errors="surrogateescape"), digest_size=8).hexdigest()


def lost_acks(spec: RunSpec, after: Tree, box: Path, acks: Sequence[str]) -> list[Finding]:
    """Return a finding for each acknowledged value that no output holds, in its content or its name.

    If outputs are not judged, as there is only a check, every file of the box is searched.
    """
    if not acks:
        return []
    left = {value: os.fsencode(value) for value in acks}
    for path, entry in after.items():
        if spec.judge_outputs and not spec.is_output(path):
            continue
        content = (box / path).read_bytes() if entry.kind == "file" else b""
        name = os.fsencode(path)
        left = {value: text for value, text in left.items() if text not in content and text not in name}
        if not left:
            break
    message = "was acknowledged before the crash, and no output holds it"
    return [Finding("lost-ack", "", f"{value!r} {message}") for value in left]
