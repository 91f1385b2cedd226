"""The same five steps with pandas, as most people write them: ``frames.py DIRECTORY``."""

import os
import sys
from pathlib import Path

import pandas as pd

from outlive import atomic_write, run_steps


def ingest() -> None:
    frame = pd.DataFrame(
        {"city": ["Oslo", "Rome", "Lima"] * 20, "celsius": [day * 7 % 31 for day in range(60)]}
    )
    atomic_write("out/raw.csv", frame.to_csv(index=False))


def clean() -> None:
    frame = pd.read_csv("out/raw.csv")
    atomic_write("out/clean.csv", frame[frame.celsius > 3].to_csv(index=False))


def features() -> None:
    frame = pd.read_csv("out/clean.csv")
    atomic_write("out/features.csv", frame.groupby("city").celsius.agg(["mean", "max"]).to_csv())


def summarise() -> None:
    atomic_write("out/summary.json", pd.read_csv("out/features.csv").to_json(orient="records"))


def report() -> None:
    atomic_write("out/report.txt", pd.read_json("out/summary.json").to_string() + "\n")


os.makedirs(sys.argv[1], exist_ok=True)  # ckpt-chaos leaves it to the program
os.chdir(sys.argv[1])
Path("out").mkdir(exist_ok=True)
run_steps([ingest, clean, features, summarise, report], report=lambda _line: None)
