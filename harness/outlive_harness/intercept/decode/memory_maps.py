"""Calls that map files: stores through a shared map are not seen, so the file is reported (mmap(2))."""

from __future__ import annotations

import os

from outlive_harness import abi
from outlive_harness.intercept.filter import PROTECTIONS
from outlive_harness.intercept.listener import Arguments
from outlive_harness.intercept.task import descriptor_info, shared_maps

from .context import Context, Decode


def _map(run: Context, _name: str, tid: int, a: Arguments) -> None:
    fd = a[4] & 0xFFFFFFFF
    path = run.by_fd(tid, fd).inside
    if path is not None and descriptor_info(tid, fd)[1] & os.O_ACCMODE == os.O_RDWR:
        if a[2] & abi.PROT_WRITE:
            _note_stores(run, path)
        else:
            run.is_mapped = True


def _protect(run: Context, _name: str, tid: int, a: Arguments) -> None:
    """Report files of the box in memory that becomes writable, wherever it was moved."""
    if run.is_mapped:
        for place in shared_maps(tid, a[0], a[0] + a[1]):
            path = run.relative(place)
            if path is not None:
                _note_stores(run, path)


def _note_stores(run: Context, path: str) -> None:
    run.blind[path, f"stores through memory to {path} (mmap, MAP_SHARED) were not seen"] = None


CALLS: dict[str, Decode] = {"mmap": _map, **dict.fromkeys(PROTECTIONS, _protect)}
