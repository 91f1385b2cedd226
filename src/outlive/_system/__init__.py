"""What the library asks of the operating system: descriptors, fsync, locks, renames with flags.

This package also checks arguments of all kinds. It imports the standard library alone, and nothing of the
packages above it. Files with a destination, markers and steps never come in here.
"""
