"""Outputs whose names differ from run to run: names that differ by a random part stand for one pattern."""

from outlive_harness.results.verdicts import Verdict

SOURCE = """
    @scenario(outputs="out/*")
    def it():
        import shutil, uuid
        shutil.rmtree("new", ignore_errors=True)
        CLEAR
        os.makedirs("PLACE", exist_ok=True)
        for number in range(2):
            Path(f"PLACE/part-{uuid.uuid4().hex}.csv").write_text("a,b\\n" * (number + 1))
        INSTALL
"""


def source(place, *, clear="", install=""):
    """Return a scenario that makes two files with random names."""
    return SOURCE.replace("PLACE", place).replace("CLEAR", clear).replace("INSTALL", install)


def test_a_directory_that_is_installed_whole_is_held(one):
    """Each run gives its files other names, and the same contents."""
    result = one(
        source("new", clear="shutil.rmtree('out', ignore_errors=True)", install="os.rename('new', 'out')")
    )
    assert result.verdict is Verdict.HELD, result


def test_a_file_under_a_random_name_can_be_half_written(one):
    """It is no output of the golden run by its name, and an output all the same."""
    result = one(source("out", clear="shutil.rmtree('out', ignore_errors=True)"))
    assert {found.kind for found in result.violations} == {"torn-output"}


def test_files_of_an_earlier_run_that_stay_are_extra_outputs(one):
    """A run that adds its files to those of the one before has each row twice."""
    result = one(source("out"))
    kinds = {found.kind for found in result.violations}
    assert kinds == {"not-idempotent", "diverged", "torn-output"}
