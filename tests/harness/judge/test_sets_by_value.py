"""Files that belong together, judged by what they mean."""

from outlive_harness.results.verdicts import Verdict

SOURCE = """
    def before():
        put("out/a.json", '{"n": 1}')
        put("out/b.json", '{"n": 1}')

    @scenario(outputs="out/*", together="out/*", read={"out/*": "json:-at"}, setup=before)
    def it():
        for name in "ab":
            put(f"out/{name}.json", '{"n": 2, "at": %r}' % time.time())
"""


def test_a_set_whose_files_differ_in_a_time_is_judged(one):
    """One new file beside an old one is seen, though a time in it is another in each run."""
    result = one(SOURCE)
    (found,) = result.violations
    assert found.kind == "torn-output"
    assert any("a reader judges files of out/*" in each.why for each in result.not_judged), result.not_judged
    assert one(SOURCE.replace('together="out/*", ', "")).verdict is Verdict.HELD
