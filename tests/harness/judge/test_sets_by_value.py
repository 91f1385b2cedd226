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
    assert not any("out/*" in each.what for each in result.not_judged), result.not_judged
    assert one(SOURCE.replace('together="out/*", ', "")).verdict is Verdict.HELD


VERSIONS = """
    def before():
        put("old/a.json", '{"n": 1}')
        put("old/b.json", '{"n": 1}')
        os.symlink("old", "out")

    @scenario(outputs="*/*", together="out/*", read={"*/*.json": "json:-at"}, setup=before)
    def it():
        for n in (2, 3):
            for name in "ab":
                put(f"v{n}/{name}.json", '{"n": %d, "at": %r}' % (n, time.time()))
            if os.path.lexists("new"):
                os.unlink("new")
            os.symlink(f"v{n}", "new")
            os.replace("new", "out")
"""


def test_a_version_in_the_middle_of_a_run_is_known_by_value(one):
    """Two whole versions, one after the other, are two; a crash between them leaves no third."""
    good = one(VERSIONS)
    assert good.verdict is Verdict.HELD, (good.reason, good.violations)
    assert not any("out/*" in each.what for each in good.not_judged), good.not_judged
    bad = one(VERSIONS.replace('f"v{n}/{name}.json"', 'f"v2/{name}.json"'))
    assert {found.kind for found in bad.violations} == {"torn-output"}
