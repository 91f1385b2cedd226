"""How work is handed out: a queue of files, tasks, jobs, worker processes, and the session that owns them.

Any number of processes share a queue: the workers of one command, or those of every pytest-xdist process. A
task is any object with ``run(bench)``. This room may import ``disk`` and ``results``. Crashes, pipelines and
faults never come in, nor what a task does or what a bench is.
"""
