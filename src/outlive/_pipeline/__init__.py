"""A pipeline as a list of steps: what they declare, in what order they run, and how they are retried.

This package imports `outlive._checkpoints` and `outlive._system`. It knows that steps are functions and have
marks; how files are written and marks are kept never comes in here.
"""
