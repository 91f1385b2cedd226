"""Readers: from a path to the value of what is there, so that outputs are judged by what they mean.

A reader is one function and one line of ``table.py``. It takes a path and returns a value of plain Python
types, or of the types in ``kinds.py``, and raises if what is there is not complete. Readers run in a process
of their own (``serve.py``). This room may import ``results`` only.
"""
