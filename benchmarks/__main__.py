"""``python benchmarks``: measures side by side, in one run, and writes results.md and points.svg.

Needs the extra `harness`; `ckpt-chaos`, `pandas` and strace(1) where they are to be compared with:
``pip install '.[harness]' ckpt-chaos pandas``, as users install it: what is editable (``-e``) counts as the
project's own, and is imported in each trial.
"""

from __future__ import annotations

import os
import platform
import sys
import time
from importlib.metadata import PackageNotFoundError, version
from importlib.util import find_spec
from pathlib import Path

import _parts
import click
from _plot import bars

from outlive_harness.jobs.session import processors
from outlive_harness.launch.reap import adopt_orphans

HERE = Path(__file__).parent
PARTS = ("rates", "first", "supervisor", "growth")


def table(rows: list[_parts.Row]) -> str:
    """Return rows as Markdown; the first is the head."""
    head, *body = rows
    lines = [head, tuple("---" if number == 0 else "---:" for number in range(len(head))), *body]
    return "\n".join(f"| {' | '.join(row)} |" for row in lines) + "\n"


def machine() -> str:
    """Say what all this was measured on."""
    model = next(
        (
            line.partition(":")[2].strip()
            for line in Path("/proc/cpuinfo").read_text().splitlines()
            if line.startswith("model name")
        ),
        platform.machine(),
    )
    tools = []
    for package in ("outlive", "ckpt-chaos", "pandas"):
        try:
            tools.append(f"{package} {version(package)}")
        except PackageNotFoundError:
            tools.append(f"{package} not installed")
    if "site-packages" not in str(find_spec("outlive").origin):  # type: ignore[union-attr]
        tools[0] += " (editable: imported in each trial)"
    return (
        f"{processors()} processors ({model}), {platform.system()} {platform.release()}, "
        f"CPython {platform.python_version()}, {', '.join(tools)}; load {os.getloadavg()[0]:.1f} at the start"
    )


@click.command()
@click.argument("parts", nargs=-1, type=click.Choice(PARTS))
@click.option("-j", "jobs", default=processors(), help="Workers, and threads of the others.")
@click.option("--seconds", default=8.0, help="How long a tool that goes on for ever is measured.")
@click.option("--limit", default=60.0, help="Seconds after which random kills are given up.")
@click.option("--out", default=HERE, type=click.Path(path_type=Path), help="Where the results go.")
def main(parts: tuple[str, ...], jobs: int, seconds: float, limit: float, out: Path) -> None:
    """Measure PARTS (all by default) and write results.md and points.svg."""
    adopt_orphans()
    out.mkdir(parents=True, exist_ok=True)  # now, and not after minutes of work
    begun = time.strftime("%Y-%m-%d")
    text = [f"# Measured\n\n{begun}: {machine()}.\n\nAll rows of a table come from one run, side by side.\n"]
    wanted = parts or PARTS

    def add(heading: str, rows: list[_parts.Row], words: str) -> None:
        text.append(f"\n## {heading}\n\n{words}\n\n{table(rows)}")
        click.echo(text[-1])

    if "rates" in wanted:
        charts = {}
        for name in ("lesson", "frames"):
            if name == "frames" and find_spec("pandas") is None:
                continue
            rows, charts[name] = _parts.rates(name, jobs=jobs, seconds=seconds)
            words = (_parts.HERE / "pipelines" / f"{name}.py").read_text().splitlines()[0].strip('"')
            add(
                f"Crash points a second: {name}",
                rows,
                f"{words} {jobs} at a time; each is the median of three.",
            )
        (out / "points.svg").write_text(bars("Crash points a second", "more is better", charts))
    if "first" in wanted:
        add(
            "Time to the first detection",
            _parts.first_detection(jobs=jobs, limit=limit),
            "Each known-bad scenario, from the start of the command to its end; confirmed by exec.",
        )
    if "supervisor" in wanted:
        add(
            "What an op costs",
            _parts.supervisor((100, 1_000, 10_000)),
            "Writes of six bytes to one file; the least of five.",
        )
    if "growth" in wanted:
        add(
            "Growth",
            _parts.growth((10, 100, 1_000), jobs=jobs),
            "Equal steps, each an output and its marker; `--faults kill`, other options at their defaults.",
        )
    (out / "results.md").write_text("".join(text))
    sys.stdout.write(f"written: {out / 'results.md'}\n")


main()
