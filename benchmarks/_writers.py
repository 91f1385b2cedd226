"""The ways to write a file that are compared: ours, those of others, and the bare system calls."""

from __future__ import annotations

import os
from collections.abc import Callable
from contextlib import AbstractContextManager
from importlib import import_module
from importlib.metadata import PackageNotFoundError, version
from typing import Any

#: Gives a file for bytes in place of the path; what is not an argument of theirs is left out.
Opener = Callable[..., AbstractContextManager[Any]]
Write = Callable[[str, bytes], object]

RIVALS = ("atomicwrites", "durablewrite", "atomicreplace", "safer", "click")


def installed() -> dict[str, str]:
    """Return the versions of what is compared, "" where it is not installed."""
    found = {}
    for name in ("outlive", *RIVALS):
        try:
            found[name] = version(name)
        except PackageNotFoundError:
            found[name] = ""
    return found


def openers() -> dict[str, Opener]:
    """Return what opens a file in place of another, by package, as its documentation shows it."""
    found: dict[str, Opener] = {}
    for name in ("outlive", *RIVALS):
        if installed()[name]:
            found[name] = globals()[f"_{name}"]
    return found


def _outlive(path: str, **options: object) -> AbstractContextManager[Any]:
    made: AbstractContextManager[Any] = import_module("outlive").atomic_open(path, "wb", **options)
    return made


def _atomicwrites(path: str, *, overwrite: bool = True) -> AbstractContextManager[Any]:
    made: AbstractContextManager[Any] = import_module("atomicwrites").atomic_write(
        path, mode="wb", overwrite=overwrite
    )
    return made


def _durablewrite(path: str, **options: object) -> AbstractContextManager[Any]:
    made: AbstractContextManager[Any] = import_module("durablewrite").atomic_write(path, "wb", **options)
    return made


def _atomicreplace(path: str) -> AbstractContextManager[Any]:
    made: AbstractContextManager[Any] = import_module("atomicreplace").atomic_open(path, "wb")
    return made


def _safer(path: str, *, overwrite: bool = True) -> AbstractContextManager[Any]:
    mode = "wb" if overwrite else "xb"
    made: AbstractContextManager[Any] = import_module("safer").open(path, mode, temp_file=overwrite)
    return made


def _click(path: str) -> AbstractContextManager[Any]:
    made: AbstractContextManager[Any] = import_module("click").open_file(path, "wb", atomic=True)
    return made


def bare(durable: str) -> Write:
    """Return the system calls alone: nothing that writes whole files can do with fewer."""

    def write(path: str, data: bytes) -> None:
        directory = os.path.dirname(path)
        temporary = f"{directory}/.temporary"
        file = os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o666)
        os.write(file, data)
        if durable != "none":
            os.fsync(file)
        os.close(file)
        os.rename(temporary, path)
        if durable == "full":
            names = os.open(directory, os.O_RDONLY)
            os.fsync(names)
            os.close(names)

    return write


def writers(durable: str) -> dict[str, Write]:
    """Return what writes a file whole with a durability, by package, the bare calls first."""
    found: dict[str, Write] = {"bare calls": bare(durable)}
    have = installed()
    if have["outlive"]:
        outlive = import_module("outlive")
        found["outlive"] = lambda path, data: outlive.atomic_write(path, data, durable=durable)
    if have["durablewrite"]:
        durablewrite = import_module("durablewrite")
        found["durablewrite"] = lambda path, data: durablewrite.write_bytes_atomic(path, data, fsync=durable)
    if have["atomicreplace"]:
        atomicreplace = import_module("atomicreplace")
        level = "data" if durable == "file" else durable
        found["atomicreplace"] = lambda path, data: atomicreplace.replace_bytes(path, data, durability=level)
    # These know one durability each.
    if have["atomicwrites"] and durable == "full":
        found["atomicwrites"] = _through(_atomicwrites)
    if have["safer"] and durable == "none":
        found["safer"] = _through(_safer)
    return found


def _through(opener: Opener) -> Write:
    def write(path: str, data: bytes) -> None:
        with opener(path) as file:
            file.write(data)

    return write
