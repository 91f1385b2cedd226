"""From scenarios to verdicts: golden run, search by each fault, confirmation, and one verdict of all.

Several scenarios are under way at a time, each a generator of the jobs that it waits for. This room may
import ``history`` and everything below. Explanations are handed in by a door; how a verdict is shown is
``report``'s.
"""
