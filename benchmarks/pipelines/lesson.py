"""Five steps on the standard library and `outlive` alone: ``lesson.py DIRECTORY``."""

import json
import os
import sys
from pathlib import Path

from outlive import atomic_write, run_steps


def ingest() -> None:
    lines = [f"{('Oslo', 'Rome', 'Lima')[day % 3]},{day * 7 % 31 if day % 5 else ''}" for day in range(60)]
    atomic_write("out/raw.csv", "\n".join(["city,celsius", *lines, ""]))


def clean() -> None:
    lines = Path("out/raw.csv").read_text().splitlines(keepends=True)
    atomic_write("out/clean.csv", "".join(line for line in lines if not line.endswith(",\n")))


def features() -> None:
    cities: dict[str, list[int]] = {}
    for line in Path("out/clean.csv").read_text().splitlines()[1:]:
        city, celsius = line.split(",")
        cities.setdefault(city, []).append(int(celsius))
    atomic_write("out/features.json", json.dumps(cities, indent=2))


def summarise() -> None:
    cities = json.loads(Path("out/features.json").read_text())
    means = {city: sum(values) / len(values) for city, values in cities.items()}
    atomic_write("out/summary.json", json.dumps(means, indent=2))


def report() -> None:
    means = json.loads(Path("out/summary.json").read_text())
    atomic_write("out/report.txt", "".join(f"{city:8}{mean:6.1f}\n" for city, mean in sorted(means.items())))


os.makedirs(sys.argv[1], exist_ok=True)  # ckpt-chaos leaves it to the program
os.chdir(sys.argv[1])
Path("out").mkdir(exist_ok=True)
run_steps([ingest, clean, features, summarise, report], report=lambda _line: None)
