"""The console script: ``outlive``. It says what to install where the harness's extra is missing."""

from __future__ import annotations

import sys


def main() -> None:
    """Run the command line."""
    try:
        from outlive_harness.cli import run  # noqa: PLC0415 - the error is the point
    except ImportError as error:
        ours = (error.name or "").startswith("outlive")
        if ours:
            raise
        sys.stderr.write(f"outlive: {error.name} is not installed: pip install 'outlive[harness]'\n")
        sys.exit(2)
    sys.exit(run())


if __name__ == "__main__":
    main()
