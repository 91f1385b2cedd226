"""The console script ``outlive``. It says what to install if the extra ``harness`` is missing."""

from __future__ import annotations

import sys


def main() -> None:
    """Run the command line and exit with its status."""
    sys.exit(_run())


def _run() -> int:
    try:
        from outlive_harness.cli import run  # noqa: PLC0415 - its error is caught

        return run()
    except KeyboardInterrupt:
        return 130
    except ImportError as error:
        name = (error.name or "").partition(".")[0]
        if name in ("", "outlive", "outlive_harness"):
            return _fault_of_ours()
        if name in sys.stdlib_module_names:
            return _refuse(f"{error}: the harness runs on Linux, and this is {sys.platform}")
        return _refuse(f"{error}: pip install 'outlive[harness]'")
    except Exception:  # noqa: BLE001 - any error has a status of its own
        return _fault_of_ours()


def _refuse(why: str) -> int:
    sys.stderr.write(f"outlive: {why}\n")
    return 2


def _fault_of_ours() -> int:
    import traceback  # noqa: PLC0415 - needed only here

    traceback.print_exc()
    sys.stderr.write("outlive: this is a fault of ours, not of your pipeline; please report it\n")
    return 70


if __name__ == "__main__":
    main()
