"""The golden run: what a pipeline does and leaves if no fault is injected, and all that is learned from it.

It is run from scratch twice, and once more on its own result. The record holds names, contents and ops to
compare with, what a zygote can import beforehand, and where in the program ops come from. This room may
import the rooms below it, down from ``judge``. No fault is injected here, and nothing is planned.
"""
