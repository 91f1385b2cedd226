"""How work is handed out: a queue of files, tasks, jobs, worker processes, and the session of all of them.

Any number of processes share a queue: the workers of one command, or those of every pytest-xdist process. A
task is whatever has ``run(bench)``; this room knows no crash, no pipeline and no fault. It may import the
rooms below it, ``disk`` and ``results``. What a task does, and what a bench is, never comes in here.
"""
