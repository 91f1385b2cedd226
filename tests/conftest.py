"""For all tests: pytest runs of pytest, interrupts that arrive, and the mutation score at the end."""

import signal

import pytest

pytest_plugins = ["pytester"]


def pytest_configure() -> None:
    """Take SIGINT as usual: background shells and nohup ignore it, and programs under test inherit that."""
    if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
        signal.signal(signal.SIGINT, signal.default_int_handler)


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    """Print what became of each mutant of the library, from whatever worker it was explored in."""
    mutants = {
        name: faults
        for reports in terminalreporter.stats.values()
        for report in reports
        for key, several in getattr(report, "user_properties", ())
        if key == "mutants" and getattr(report, "when", "") == "call"
        for name, faults in several.items()
    }
    if mutants:
        terminalreporter.section("mutants of outlive")
        for name, faults in mutants.items():
            terminalreporter.write_line(f"{faults or 'SURVIVES':24} {name}")
        caught = sum(map(bool, mutants.values()))
        plain = sum(faults == "no fault needed" for faults in mutants.values())
        terminalreporter.write_line(
            f"mutation score: {caught} of {len(mutants)} caught ({caught - plain} by a fault, {plain} with "
            f"none needed), {len(mutants) - caught} survive"
        )
