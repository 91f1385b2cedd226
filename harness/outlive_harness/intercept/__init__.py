"""How an op is caught: a seccomp filter, its listener, and calls read while their task is stopped.

The filter stops a task before each call that can change files; the supervisor decodes the call into an op,
asks a visitor what is to become of it, and answers. It may import ``jobs`` (whether the run is still wanted),
``disk`` (digests), ``results`` and ``abi``. How a run is started, which fault is injected and what a crash
state must fulfil never come in. Sources of the mechanism: seccomp_unotify(2), seccomp(2).
"""
