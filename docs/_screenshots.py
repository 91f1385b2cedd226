"""Takes the pictures of the HTML report that the pages show: ``python docs/_screenshots.py``.

The pipeline is the tutorial's, with its files renamed into place and no fsync; headless Chromium looks at
the report of ``outlive check --html``. Needs ``chromium`` on PATH.
"""

from __future__ import annotations

import re
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

HERE = Path(__file__).parent
CHROMIUM = next(filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))), None)
#: Pictures: the size of Chromium's window, and what makes it want these colours.
PICTURES = {
    "report-light.png": ("1000,960", "--blink-settings=preferredColorScheme=1"),
    "report-dark.png": ("1000,1360", "--blink-settings=preferredColorScheme=0"),
}
#: Bytes that a picture may have: it is fetched by each reader, and kept in each clone.
LARGEST = 200_000


def pipeline() -> str:
    """Return the tutorial's first pipeline, with the function of its first repair."""
    text = (HERE / "tutorial.md").read_text()
    naive, write = re.findall(r"```python[^\n]*\n(.*?)```", text, re.DOTALL)[:2]
    renaming = re.sub(r'Path\("(out[^"]*)"\)\.write_text\(', r'write("\1", ', naive)
    return renaming.replace("\n\n\ndef ingest", f"\n\n\n{write}\n\ndef ingest")


def main() -> None:
    """Run the pipeline, and photograph what is said of it."""
    if CHROMIUM is None:
        sys.exit("no chromium on PATH: apt-get install chromium")
    with tempfile.TemporaryDirectory() as place:
        (Path(place) / "pipeline.py").write_text(pipeline())
        report = Path(place) / "report.html"
        harness = [sys.executable, "-m", "outlive_harness", "check", "--faults", "kill,torn,power"]
        program = ["--outputs", "out/*", "--html", str(report), "--", sys.executable, "pipeline.py"]
        done = subprocess.run([*harness, *program], cwd=place, check=False)
        if done.returncode != 1:
            sys.exit(f"the known-bad pipeline was not caught: exit status {done.returncode}")
        for name, (size, colours) in PICTURES.items():
            target = HERE / "img" / name
            target.parent.mkdir(exist_ok=True)
            flags = ["--headless", "--no-sandbox", "--disable-gpu", "--hide-scrollbars", colours]
            view = [f"--window-size={size}", f"--user-data-dir={place}/profile", f"--screenshot={target}"]
            subprocess.run([CHROMIUM, *flags, *view, report.as_uri()], check=True, capture_output=True)
            length = target.stat().st_size
            if length > LARGEST:
                sys.exit(f"{target} has {length} bytes, and may have {LARGEST}")
            sys.stdout.write(f"{target}: {length} bytes\n")


if __name__ == "__main__":
    main()
