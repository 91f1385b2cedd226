"""Any number of like steps: ``steps.py DIRECTORY COUNT``."""

import os
import sys
from functools import partial
from pathlib import Path

from outlive import atomic_write, run_steps

os.makedirs(sys.argv[1], exist_ok=True)  # ckpt-chaos leaves it to the program
os.chdir(sys.argv[1])
Path("out").mkdir(exist_ok=True)
run_steps(
    [
        (f"step{number}", partial(atomic_write, f"out/{number}.txt", f"{number}\n"))
        for number in range(int(sys.argv[2]))
    ],
    report=lambda _line: None,
)
