"""Ops as a program makes them, for the tests of the model of the disk."""

import os

from outlive_harness.results.ops import Op


def make(path, flags=0, detail=None):
    return Op("open", "openat", path, flags=os.O_CREAT | os.O_WRONLY | flags, mode=0o644, detail=detail)


def write(path, data, offset=0, flags=os.O_WRONLY):
    return Op("write", "write", path, offset=offset, length=len(data), flags=flags, data=data)


def rename(path, target, flags=0):
    return Op("rename", "rename", path, target, flags=flags)


def truncate(path, size):
    return Op("truncate", "ftruncate", path, length=size)


def op(kind, path="", target="", **more):
    return Op(kind, kind, path, target, **more)


def fsync(path):
    return op("fsync", path)
