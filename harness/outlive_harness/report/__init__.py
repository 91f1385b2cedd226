"""Reports: one file for each reader, all made from the same results.

Each module turns a ``RunResult``, or one replayed trial, into a text: for a terminal, a browser, a machine, a
code host, a bug report. ``files`` writes these texts, and ``text`` holds the words that they share. This room
may import ``explain`` and everything below. Decisions never come in: verdicts and reasons are in the results.
"""
