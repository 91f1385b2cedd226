"""Files and directories that are written whole or not at all: beside the destination, fsynced, renamed.

This package holds the public functions that write, the temporaries that they write to, and the removal of
what killed writers left. It imports `outlive._system` alone. Markers, steps and object stores never come in
here.
"""
