"""Outputs that differ from run to run are not compared; whether they are seen half-written is judged."""

import pytest

from outlive_harness.report.json_report import scenario_data
from outlive_harness.report.text import details
from outlive_harness.results.verdicts import Verdict

VARIES = """
import json, time
@scenario(outputs=("rows", "report.json"), ignore="report.json")
def varies():
    put("rows", "x")
    text = json.dumps({"at": time.time_ns(), "rows": ["x"] * 3000})
    WRITE
"""
IN_PLACE = "Path('report.json').write_text(text)"
BESIDE = "put('report.json', text)"
TWICE = "put('report.json', text); put('report.json', text + ' ')"


@pytest.mark.parametrize("fault", ["kill", "torn", "power", "full"])
def test_one_that_is_written_in_place_is_torn(one, fault):
    """Against what the very run that was struck made whole: no two runs make the same."""
    result = one(VARIES.replace("WRITE", IN_PLACE), faults=(fault,))
    assert ("torn-output", "report.json") in {(found.kind, found.path) for found in result.violations}


@pytest.mark.parametrize("write", [BESIDE, TWICE])
@pytest.mark.parametrize("options", [{"faults": ("kill", "torn", "term")}, {"faults": ("kill",), "depth": 2}])
def test_one_that_is_put_in_place_whole_holds(one, write, options):
    """Each content that a run installs is whole, also where a recovery finds one of an earlier run."""
    result = one(VARIES.replace("WRITE", write), **options)
    assert result.verdict is Verdict.HELD, result
    assert any("report.json" in line and line.startswith("not judged: ") for line in details(result))


def test_one_that_an_earlier_run_left_is_whole(one):
    """What the box begins with is complete until the run touches it."""
    source = VARIES.replace('ignore="report.json"', 'ignore="report.json", setup=before').replace(
        "@scenario", "def before(): Path('report.json').write_text('old')\n@scenario"
    )
    assert one(source.replace("WRITE", BESIDE)).verdict is Verdict.HELD


def test_a_log_that_grows_is_not_looked_at(one):
    """A log that is ignored may end anywhere; it is listed, with the number of files."""
    source = VARIES.replace('"report.json")', '"*.log")').replace('ignore="report.json"', 'ignore="*.log"')
    result = one(source.replace("WRITE", "f = open('a.log', 'a'); f.write(text); f.flush(); f.write(text)"))
    assert result.verdict is Verdict.HELD, result
    assert {"what": "*.log", "why": "ignored: 1 file of the golden run"} in scenario_data(result)[
        "not_judged"
    ]


def test_what_is_ignored_and_no_output_is_listed(one):
    """With no outputs named, what is ignored is looked at by nothing, and the verdict says so."""
    source = VARIES.replace('outputs=("rows", "report.json"), ', "").replace("WRITE", IN_PLACE)
    result = one(source)
    assert result.verdict is Verdict.HELD, result
    assert {"what": "report.json", "why": "ignored: 1 file of the golden run"} in scenario_data(result)[
        "not_judged"
    ]


EMPTIED = """
@scenario(outputs="out")
def emptied():
    BEFORE
    with open("out", "r+b", buffering=0) as f:
        f.write(b"x" * 100)
"""


@pytest.mark.parametrize(
    "before",
    [
        "open('out', 'wb').close()",
        "open('t', 'wb').close(); os.replace('t', 'out')",
        "open('out', 'ab').close(); os.truncate('out', 0)",
    ],
)
def test_an_empty_file_is_not_whole_since_it_was_closed(one, before):
    """Many programs create a file, close it and open it again: in between readers see nothing of it."""
    result = one(EMPTIED.replace("BEFORE", before))
    assert {found.kind for found in result.violations} == {"torn-output"}


@pytest.mark.parametrize(
    ("outputs", "setup"),
    [("marker", "pass"), ("out", "open('out', 'wb').close()")],
)
def test_an_empty_file_is_whole_where_it_ends_or_begins_so(one, outputs, setup):
    """A marker without content, and a file that is empty before the run, are complete as they are."""
    result = one(f"""
def before():
    {setup}
@scenario(outputs={outputs!r}, setup=before)
def ends():
    open("marker", "wb").close()
    put("out", "x")
""")
    assert result.verdict is Verdict.HELD, result


def test_what_nobody_tried_is_listed(one):
    """Points that were left out, and faults that were not asked for, stand with the verdict as data."""
    result = one(VARIES.replace("WRITE", BESIDE), points=2)
    untried = {item["what"]: item["why"] for item in scenario_data(result)["not_judged"]}
    tested, points = result.faults["kill"].tested, result.faults["kill"].points
    assert f"{points - tested} of {points} crash points of kill" in untried
    assert untried["faults torn, full, eio, term, power"] == "not asked for"
