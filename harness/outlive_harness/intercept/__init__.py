"""How an op is caught: a seccomp filter, its listener, and the calls read while they stand still.

Source of the mechanism: seccomp_unotify(2), seccomp(2).
"""
