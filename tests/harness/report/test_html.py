"""The HTML report: whole, safe whatever is in it, usable in a real browser, by keyboard and in the dark."""

import json
import re
import shutil
import subprocess

import pytest

from outlive_harness.report.html_report import as_text
from outlive_harness.results.findings import Violation
from outlive_harness.results.verdicts import Coverage, Exhibit, RunResult, ScenarioResult, Verdict

#: Closes the element that it stands in, if it is let; a newline, a raw byte, a control character.
ODD = "</script><script>document.title='gone'</script>&amp;\n\udcff\x1b[31m'\""
CHROMIUM = next(filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))), None)
browser = pytest.mark.skipif(CHROMIUM is None, reason="no chromium on PATH: apt-get install chromium")


def violation(point, **fields):
    return Violation(
        **{
            "kind": "torn-output",
            "fault": "kill",
            "point": point,
            "op": "write out",
            "path": "out",
            "message": "out is half-written",
            "detail": "golden: x",
            "replay": f"one:{point}",
            **fields,
        }
    )


def result(ops=5, bad=3, **fields):
    """A run of so many ops on three files, killed before each and violated at one."""
    exhibit = Exhibit(
        [(f"out/{number % 3}", f"write out/{number % 3} ({number} bytes)") for number in range(1, ops + 1)],
        [f"pipe.py:{number}" for number in range(1, ops + 1)],
        [
            (fault, at, f"{fault}@{at}", ("torn-output",) if at == bad and fault == "kill" else ())
            for fault in ("kill", "power")
            for at in range(1, ops + 1)
        ],
    )
    found = violation(f"kill@{bad}", source="pipe.py:3", advice="fsync it", left=(("out/0", "absent"),))
    plain = {
        "faults": {"kill": Coverage(ops, ops, ops), "power": Coverage(ops, ops, ops, profile="posix")},
        "violations": [found],
        "exhibit": exhibit,
    }  # fmt: skip
    return ScenarioResult("one", Verdict.VIOLATED, **plain | fields)


def html(*results):
    return as_text(RunResult(list(results), 0, 1.0))


def test_the_report_asks_for_nothing():
    """One file: no address of another, no script or style from elsewhere."""
    text = html(result())
    assert not re.search(r"""(src|href)=["'](?!#)|url\(|@import|https?:""", text)
    assert text.isascii() or text.encode()


def test_names_rule_nothing():
    """Markup, newlines, raw bytes and control characters in any name are shown, and do nothing."""
    odd = violation(
        "kill@3", path=ODD, message=ODD, detail=ODD, op=ODD, source=ODD, advice=ODD, stack=(ODD, ODD),
        left=((ODD, ODD),), lost=(ODD,), profile="posix", replay=f"{ODD}:kill@3",
    )  # fmt: skip
    exhibit = Exhibit([(ODD, ODD)], [ODD], [("kill", 1, "kill@1", ("diverged",))])
    text = html(result(violations=[odd], warnings=[ODD], exhibit=exhibit, reason=ODD))
    assert text.encode()  # no lone surrogate is left
    assert "\x1b" not in text
    assert text.count("</script>") == 2
    assert "<script>document" not in text


def test_a_run_of_nothing_is_a_report_too():
    """No scenarios, no points, no ops: it says so."""
    assert "There were no scenarios." in html()
    none = ScenarioResult("none", Verdict.UNKNOWN, reason="it fails with no fault", exhibit=Exhibit())
    text = html(none)
    assert "it fails with no fault" in text
    assert "No crash point was tested." in text
    assert "<canvas" not in text


# -- in a browser ------------------------------------------------------------------------------------


@pytest.fixture
def opened(tmp_path):
    """Open a report in headless Chromium, run a script in it; return what the script said."""

    def run(text, script, *options):
        path = tmp_path / "report.html"
        said = "<pre id=said></pre><script>addEventListener('load', () => {"
        path.write_text(
            text
            + f"{said}document.getElementById('said').textContent = JSON.stringify({script});}})</script>"
        )
        command = [
            CHROMIUM,
            "--headless",
            "--no-sandbox",
            "--disable-gpu",
            "--virtual-time-budget=2000",
            *options,
        ]
        profile = f"--user-data-dir={tmp_path / 'profile'}"
        done = subprocess.run(
            [*command, profile, "--dump-dom", path.as_uri()],
            capture_output=True,
            text=True,
            timeout=120,
            check=True,
        )
        found = re.search(r'<pre id="said">(.*?)</pre>', done.stdout, re.DOTALL)
        assert found, done.stderr
        return json.loads(found[1].replace("&lt;", "<").replace("&gt;", ">").replace("&amp;", "&"))

    return run


PRESS = """(keys => { const canvas = document.querySelector("canvas"); canvas.focus();
  return keys.map(key => { canvas.dispatchEvent(new KeyboardEvent("keydown", {key, bubbles: true}));
  return document.querySelector(".here").textContent; }); })"""


@browser
def test_the_time_line_is_read_by_keyboard(opened):
    """It begins at the violation; arrows move to other ops and faults; Enter goes to what was found."""
    said = opened(
        html(result()),
        f"""[document.querySelector(".here").textContent, ...{PRESS}(["ArrowLeft", "End", "ArrowDown"]),
        ...{PRESS}(["ArrowUp", "ArrowLeft", "ArrowLeft", "Enter"]).slice(3), document.activeElement.id]""",
    )
    first, left, end, down, _, focus = said
    assert first.startswith("op 3 of 5: write out/0 (3 bytes), from pipe.py:3")
    assert "kill: 1 of 1 crash points violate: torn-output" in first
    assert left.startswith("op 2 of 5")
    assert "kill: 1 crash point, held" in left
    assert end.startswith("op 5 of 5")
    assert "power: 1 crash point, held" in down
    assert focus == "s0v0"


@browser
def test_a_click_shows_the_op(opened):
    """A click on a column of a row tells of that op and that fault."""
    said = opened(
        html(result()),
        """(() => { const canvas = document.querySelector("canvas"), box = canvas.getBoundingClientRect();
        canvas.dispatchEvent(new MouseEvent("click", {clientX: box.right - 15, clientY: box.bottom - 15}));
        return document.querySelector(".here").textContent; })()""",
    )
    assert said.startswith("op 5 of 5")
    assert "power" in said


@browser
def test_thousands_of_points_are_drawn(opened):
    """Twenty thousand ops fit; a single bad one is seen among them, in its colour."""
    said = opened(
        html(result(ops=20_000, bad=7_777)),
        """(() => { const canvas = document.querySelector("canvas"), pen = canvas.getContext("2d");
        const data = pen.getImageData(0, 0, canvas.width, canvas.height).data; let red = 0, green = 0;
        for (let i = 0; i < data.length; i += 4) { red += data[i] > 180 && data[i + 1] < 60;
          green += data[i] < 60 && data[i + 1] > 100; }
        return [red, green, document.querySelector(".here").textContent]; })()""",
    )
    red, green, here = said
    assert 0 < red < green
    assert here.startswith("op 7777 of 20000")


@browser
def test_it_is_dark_where_the_reader_is(opened):
    """The page follows the reader's choice of colours."""
    colour = "getComputedStyle(document.body).backgroundColor"
    assert opened(html(result()), colour) == "rgb(255, 255, 255)"
    assert opened(html(result()), colour, "--blink-settings=preferredColorScheme=0") == "rgb(13, 17, 23)"


@browser
def test_odd_names_do_nothing_in_a_browser_either(opened):
    """The title is ours, the name is shown."""
    text = html(result(violations=[violation("kill@3", message=ODD)]))
    title, shown = opened(text, "[document.title, document.querySelector('article h3').textContent]")
    assert title == "outlive: violated"
    assert "</script><script>" in shown
