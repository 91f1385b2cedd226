"""One trial: a crash state is made, judged, recovered from, and compared with the golden run.

A crash state comes from a run with a fault, from a recording of what a run wrote, or from a real disk. This
room also has the workers' entry point and bench, and the other tasks that need a recording. It may import
``golden`` and everything below. Which plans are worth a trial, and what many trials say together, never
come in here.
"""
