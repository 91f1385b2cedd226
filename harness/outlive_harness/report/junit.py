"""The JUnit XML report: a test case for each scenario, with its counts as properties."""

from __future__ import annotations

import os
from xml.etree import ElementTree as ET

from outlive_harness import __version__
from outlive_harness.results.scenario import NO_FILE
from outlive_harness.results.verdicts import RunResult, ScenarioResult, Verdict

from .escaped import visible
from .text import counts, details, verdict_word
from .unjudged import of_all


def as_text(result: RunResult) -> str:
    """Return the report."""
    several = result.scenarios
    failed = sum(one.verdict is Verdict.VIOLATED for one in several)
    unknown = sum(one.verdict is Verdict.UNKNOWN for one in several)
    skipped = sum(one.verdict is Verdict.SKIPPED for one in several)
    facts = {
        "tests": str(len(several)),
        "failures": str(failed),
        "errors": str(unknown),
        "time": f"{result.seconds:.3f}",
    }
    root = ET.Element("testsuites", {"name": "outlive", **facts})
    suite = ET.SubElement(root, "testsuite", {"name": "outlive", "skipped": str(skipped), **facts})
    _properties(suite, {"version": __version__, "seed": str(result.seed), "verdict": str(result.verdict)})
    for one in several:
        _case(suite, one)
    ET.indent(root)
    return ET.tostring(root, encoding="unicode", xml_declaration=True) + "\n"


def _case(suite: ET.Element, one: ScenarioResult) -> None:
    is_file = os.path.basename(one.file) not in ("", NO_FILE)  # a command has none
    file = visible(os.path.relpath(one.file)) if is_file else ""
    facts = {
        "classname": file.removesuffix(".py").replace(os.sep, ".") or "outlive",
        "name": visible(one.name),
        "time": f"{one.seconds:.3f}",
    }
    case = ET.SubElement(suite, "testcase", facts | ({"file": file} if file else {}))
    tested, states = counts(one)
    facts = {"verdict": verdict_word(one), "ops": str(one.ops), "points": tested, "states": states}
    for name, coverage in one.faults.items():
        facts[f"points.{name}"] = f"{coverage.tested}/{coverage.points}"
    for number, found in enumerate(one.violations, start=1):
        for key in ("replay", "source", "within", "advice"):
            if getattr(found, key):
                facts[f"violation.{number}.{key}"] = visible(getattr(found, key))
    for number, line in enumerate(of_all([one]), start=1):
        facts[f"not-judged.{number}"] = line.removeprefix(f"{visible(one.name)}: ")
    _properties(case, facts)
    text = "\n".join(details(one))
    if one.verdict is Verdict.VIOLATED:
        new = [found.kind for found in one.violations if not (found.known or one.expected)]
        kind = next(iter(new), "violated")
        ET.SubElement(case, "failure", type=kind, message=visible(one.reason)).text = text
    elif one.verdict is Verdict.UNKNOWN:
        ET.SubElement(case, "error", type="unknown", message=visible(one.reason)).text = text
    elif one.verdict is Verdict.SKIPPED:
        ET.SubElement(case, "skipped", message=visible(one.reason))
    elif text:
        ET.SubElement(case, "system-out").text = text


def _properties(parent: ET.Element, facts: dict[str, str]) -> None:
    properties = ET.SubElement(parent, "properties")
    for name, value in facts.items():
        ET.SubElement(properties, "property", name=name, value=value)
