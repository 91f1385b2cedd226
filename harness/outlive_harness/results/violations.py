"""The kinds of violations: what can be wrong with a crash state, or with its recovery."""

from __future__ import annotations

#: Each kind and what it means, the gravest first: what stops the pipeline, what stays wrong, what passes.
VIOLATIONS = {
    "not-idempotent": "A second run, with no crash, changes the outputs.",
    "recovery-failed": "The pipeline, run again after a crash, fails.",
    "recovery-hung": "The pipeline, run again after a crash, does not end.",
    "lost-ack": "What the pipeline had acknowledged before a crash is gone after recovery.",
    "diverged": "After recovery the outputs differ from those of a run that never crashed.",
    "torn-output": "A partial file is visible at an output's path, or files of two versions side by side.",
    "litter": "A crash leaves files that the golden run does not leave.",
}
#: Those that say that a recovery did not exit with 0.
RECOVERY_FAILED = frozenset({"recovery-failed", "recovery-hung"})
_GRAVITY = {kind: number for number, kind in enumerate(VIOLATIONS)}


def gravity(kind: str) -> int:
    """Return a number for a kind, smaller for a graver one."""
    return _GRAVITY.get(kind, len(_GRAVITY))
