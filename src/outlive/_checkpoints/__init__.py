"""Which steps and items are done: marks, what they vouch for, the two stores of them, and a run's lock.

This package imports `outlive._atomic` and `outlive._system`. What a step is, and in what order steps run,
never comes in here, nor does an object store.
"""
