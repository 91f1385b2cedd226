"""Reads the configuration and the orders."""

from pathlib import Path

import pandas as pd
import yaml


def configuration(path: str) -> dict:
    return yaml.safe_load(Path(path).read_text())


def orders(path: str) -> pd.DataFrame:
    table = pd.read_csv(path)
    table["total"] = (table["quantity"] * table["price"]).round(2)
    return table
