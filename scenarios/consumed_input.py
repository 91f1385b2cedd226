"""What a step was made from is removed once the step is done: no crash may take its marker back then."""

from pathlib import Path

from outlive import mark_done, step_done
from outlive_harness import scenario


def published() -> None:
    Path("total.txt").write_text("7\n")
    Path("orders.csv").write_text("3\n4\n")
    Path(".checkpoints").mkdir()


# It takes a kill just after the marker's rename, and a power cut in the recovery that believes the marker.
@scenario(outputs=("total.txt", ".checkpoints/*"), setup=published, faults=("kill", "power"), depth=2)
def consumed_input() -> None:
    if not step_done("publish"):
        orders = Path("orders.csv").read_text().split()
        assert Path("total.txt").read_text() == f"{sum(map(int, orders))}\n"
        mark_done("publish")
    Path("orders.csv").unlink(missing_ok=True)
