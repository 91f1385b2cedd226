"""Prints how many microseconds each of COUNT writes took: ``writes.py DIRECTORY COUNT``."""

import os
import sys
import time

count = int(sys.argv[2])
file = os.open(os.path.join(sys.argv[1], "log"), os.O_CREAT | os.O_WRONLY)
begun = time.perf_counter()
for _ in range(count):
    os.write(file, b"hello\n")
sys.stdout.write(f"{(time.perf_counter() - begun) / count * 1e6}\n")
