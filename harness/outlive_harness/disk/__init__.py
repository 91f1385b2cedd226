"""Files as data: trees read from the disk, and trees that the model of the disk predicts.

Trees are scanned, copied, removed and digested here; ``model`` replays ops on inodes in memory, and
``persistence`` says what a power cut may leave of them, by the promises in ``profiles``; ``realfs`` gives the
ground truth on real file systems. It may import ``results`` and ``abi``. Processes, system calls under way,
faults and verdicts never come in.
"""
