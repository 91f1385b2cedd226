"""Violations are reported by the smallest plan that shows them."""

from outlive_harness.results.plan import parse_plan, plan_text
from outlive_harness.search.shrink import candidates


def test_a_plan_is_made_smaller_in_each_way():
    """Each crash is left out once; of what was lost either half, and all but one, is tried."""
    texts = [plan_text(plan) for plan in candidates(parse_plan("kill@3+power@9-1,2,4"))]
    assert texts == [
        "power@9-1,2,4",
        "kill@3",
        "kill@3+power@9-1",
        "kill@3+power@9-2,4",
        "kill@3+power@9-2,4",
        "kill@3+power@9-1,4",
        "kill@3+power@9-1,2",
    ]
    assert list(candidates(parse_plan("power@9-1"))) == []


def test_what_a_power_cut_lost_is_reduced_to_what_matters(one):
    """Of all that was not synced only the write of the output is named."""
    result = one(
        """
@scenario(outputs="o", faults="power")
def careless():
    for i in range(2):
        Path(f"t{i}").write_text("x")
    Path("u").write_text("y" * 100)
    os.replace("u", "o")
""",
        points=80,
    )
    torn = [found for found in result.violations if found.kind == "torn-output"]
    assert [len(found.lost) for found in torn] == [1]
    assert "write u (100 bytes)" in torn[0].lost[0]
