"""`step_done` and `mark_done`: the marks of the current directory, without a `Checkpoints` object."""

from __future__ import annotations

from typing import TYPE_CHECKING

from .checkpoints import Checkpoints

if TYPE_CHECKING:
    from collections.abc import Mapping

    from .declaration import Paths
    from .staleness import Verify


def step_done(
    name: str,
    *,
    run_id: str = "",
    inputs: Paths | None = None,
    outputs: Paths | None = None,
    params: Mapping[str, object] | None = None,
    version: str | None = None,
    verify: Verify = "stat",
) -> bool:
    """Return whether a step is done, by `.checkpoints` in the current directory; see `Checkpoints`."""
    run = Checkpoints(run_id=run_id)
    return run.step_done(name, inputs=inputs, outputs=outputs, params=params, version=version, verify=verify)


def mark_done(
    name: str,
    *,
    run_id: str = "",
    inputs: Paths | None = None,
    outputs: Paths | None = None,
    params: Mapping[str, object] | None = None,
    version: str | None = None,
) -> None:
    """Mark a step in `.checkpoints` of the current directory, durably; see `Checkpoints.mark_done`."""
    run = Checkpoints(run_id=run_id)
    run.mark_done(name, inputs=inputs, outputs=outputs, params=params, version=version)
