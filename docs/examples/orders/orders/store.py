"""Writes what the pipeline makes: each file beside its destination first, then renamed into place."""

import gzip
import json
import sqlite3
from collections.abc import Iterator
from contextlib import closing, contextmanager
from datetime import UTC, datetime
from pathlib import Path

import pandas as pd


@contextmanager
def replacing(path: Path) -> Iterator[Path]:
    """Yield a path beside the destination; rename it into place once the body has ended well."""
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = path.with_name(f".{path.name}.tmp")
    yield temporary
    temporary.replace(path)


def parquet(table: pd.DataFrame, path: Path) -> None:
    with replacing(path) as temporary:
        table.to_parquet(temporary, index=False)


def compressed(table: pd.DataFrame, path: Path) -> None:
    with replacing(path) as temporary, gzip.open(temporary, "wt", newline="") as file:
        table.to_csv(file, index=False)


def report(facts: dict, path: Path) -> None:
    facts = {**facts, "generated_at": datetime.now(UTC).isoformat()}
    with replacing(path) as temporary:
        temporary.write_text(json.dumps(facts, indent=2))


def database(table: pd.DataFrame, path: Path) -> None:
    """Replace the rows of the table in one transaction."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with closing(sqlite3.connect(path)) as connection, connection:
        connection.execute("BEGIN")
        connection.execute("CREATE TABLE IF NOT EXISTS totals (day TEXT PRIMARY KEY, total REAL)")
        connection.execute("DELETE FROM totals")
        rows = list(table.itertuples(index=False, name=None))
        connection.executemany("INSERT INTO totals VALUES (?, ?)", rows)
