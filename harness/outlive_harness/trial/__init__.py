"""One trial: a crash state is made, judged, recovered from, and compared with the golden run.

A crash state comes from a run with a fault, from a recording, or from a real disk. The workers' entry point
and bench are here too, and the tasks that need a recording. This room may import ``golden`` and everything
below it. The choice of plans, and conclusions from many trials, never come in.
"""
