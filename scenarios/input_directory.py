"""A pipeline starts from a copy of a directory of yours: `input=` names it, relative to this file."""

import csv
from collections import Counter
from pathlib import Path

from outlive import atomic_write
from outlive_harness import scenario


@scenario(input="_orders", outputs=("orders.csv", "totals.csv"))
def input_directory() -> None:
    totals: Counter[str] = Counter()
    with Path("orders.csv").open(newline="") as orders:
        for order in csv.DictReader(orders):
            totals[order["customer"]] += int(order["amount"])
    lines = [f"{customer},{total}\n" for customer, total in sorted(totals.items())]
    atomic_write("totals.csv", "".join(["customer,total\n", *lines]))
