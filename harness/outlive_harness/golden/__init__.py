"""The golden run: what a pipeline does and leaves without a fault, and what is learned from that.

The pipeline runs from scratch twice, and once more on its own result. The record holds names, contents and
ops to compare with, the modules that a zygote can import beforehand, and the sources of ops. This room may
import the rooms below it, down from ``judge``. Injections and plans never come in.
"""
