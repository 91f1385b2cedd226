"""Promises: what was acknowledged before the fault must hold after the recovery."""

import pytest

from outlive_harness.intercept.tail import Tail
from outlive_harness.results.scenario import ACK_PATTERN, ack
from outlive_harness.results.verdicts import Verdict

ROWS = """
from outlive_harness import ack

@scenario(outputs="log", append_only="log"{more})
def rows():
    for i in range(len(Path("log").read_text().split()) if Path("log").exists() else 0, 3):
        {body}
"""
STORE = 'open("log", "a").write(f"row{i}\\n")'


def kinds(result):
    return {violation.kind for violation in result.violations}


def test_what_is_stored_before_it_is_promised_holds(one):
    """The acknowledged text is found in an output after every recovery."""
    result = one(ROWS.format(more="", body=f"{STORE}; ack(f'row{{i}}')"))
    assert result.verdict is Verdict.HELD, result


def test_a_promise_that_is_gone_after_recovery_is_seen(one):
    """Acknowledged first and stored later: a crash in between loses it, and names the value."""
    body = (
        "n = int(Path('n').read_text()) if Path('n').exists() else 0\n"
        "        if i < n: continue\n"
        f"        put('n', str(i + 1)); ack(f'row{{i}}'); {STORE}"
    )
    result = one(ROWS.format(more="", body=body))
    assert "lost-ack" in kinds(result)
    assert any(
        v.message == "'row0' was acknowledged before the crash, and no output holds it"
        for v in result.violations
    )


def test_a_check_that_takes_the_promises_judges_them(one):
    """Where a value's text is not in a file, the check is handed the list."""
    source = """
from outlive_harness import ack

def holds(acks):
    have = int(Path("n").read_text()) if Path("n").exists() else 0
    assert have >= len(acks), f"{{len(acks)}} promised, {{have}} there"

@scenario(check=holds)
def counted():
    for i in range({start}, 3):
        {body}
"""
    start = 'int(Path("n").read_text()) if Path("n").exists() else 0'
    good = source.format(start=start, body='put("n", str(i + 1)); ack(i)')
    assert one(good).verdict is Verdict.HELD
    bad = source.format(start=start, body='ack(i); ack(i); put("n", str(i + 1)); put("n", str(i + 1))')
    assert one(bad).verdict is Verdict.UNKNOWN  # the golden run breaks its own promise
    early = source.format(
        start=start, body='Path("d").exists() or ack(i); put("d", ""); put("n", str(i + 1))'
    )
    assert one(early).verdict is Verdict.HELD


def test_lines_of_a_commands_output_can_be_promises(one):
    """acks= is a pattern; its first group is the value."""
    script = "if [ ! -e m ]; then : > m; echo stored 17; echo 17 > t; mv t o; fi"
    source = f"s = scenario(command=['sh', '-c', {script!r}], acks='stored (.*)', outputs=['o', 'm'])"
    assert {"lost-ack", "diverged"} <= kinds(one(source))


def test_promises_of_earlier_crashes_count_too(one):
    """At depth 2 a promise of the first run must outlast the crash of its recovery."""
    body = f"{STORE}; ack(f'row{{i}}')"
    assert one(ROWS.format(more=", depth=2", body=body)).verdict is Verdict.HELD


def test_a_line_is_matched_wherever_the_stream_was_cut(tmp_path):
    """Promises are read from the stream as it comes, and not from the tail that is kept."""
    tail = Tail(r"^ack (\w+)$")
    path = tmp_path / "stream"
    path.write_bytes(b"ack one\nno ack two\n" + b"x" * 200_000 + b"\nack three\nack four")
    with path.open("rb") as stream:
        tail.drain(stream.fileno())
    assert tail.matches == ["one", "three"]


@pytest.mark.parametrize("value", ["zürich", "a\nb", "\\n", "tab\t\\", "\udcff", "\U0001f600"])
def test_what_is_promised_is_what_is_looked_for(value, tmp_path, monkeypatch):
    """ack() writes one line of ASCII whatever it is given, and the reader has the text again."""
    path = tmp_path / "stream"
    out = path.open("wb")
    monkeypatch.setattr("os.write", lambda _fd, data: out.write(data))
    ack(value)
    out.close()
    assert path.read_bytes().isascii()
    assert path.read_bytes().count(b"\n") == 1
    tail = Tail(ACK_PATTERN)
    with path.open("rb") as stream:
        tail.drain(stream.fileno())
    assert tail.matches == [value]


def test_escapes_in_other_patterns_are_what_they_are(tmp_path):
    """A command that is not Python writes its lines as they are, and so are they read."""
    path = tmp_path / "stream"
    path.write_bytes(b"stored C:\\new\n")
    tail = Tail("stored (.*)")
    with path.open("rb") as stream:
        tail.drain(stream.fileno())
    assert tail.matches == ["C:\\new"]


def test_a_promise_beyond_ascii_is_found_in_an_output(one):
    """The text is searched for, and handed to a check, as it was given."""
    source = """
from outlive_harness import ack

@scenario({how})
def told():
    put("o", "zürich")
    ack("zürich")
"""
    for how in ('outputs="o"', 'check=lambda acks: [a for a in acks if a not in Path("o").read_text()]'):
        result = one(source.format(how=how))
        assert result.verdict is Verdict.HELD, result


@pytest.mark.parametrize("pattern", ["(", 3])
def test_a_pattern_that_is_none_is_refused(pattern):
    """The message begins with the argument and its value."""
    from outlive_harness import scenario

    with pytest.raises(ValueError, match=r"^acks=.* is not a regular expression"):
        scenario(command=["true"], acks=pattern)
