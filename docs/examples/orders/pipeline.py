"""The daily job: orders in; totals, a detailed table, a report and a database out."""

import logging
import sys
from pathlib import Path

from orders import load, store

log = logging.getLogger("orders")


def main() -> None:
    conf = load.configuration("conf/pipeline.yaml")
    out = Path(conf["output"])
    out.mkdir(exist_ok=True)
    logging.basicConfig(
        filename="etl.log", level=logging.INFO, format="%(asctime)s %(levelname)s %(message)s"
    )
    orders = load.orders(conf["input"])
    log.info("%d orders read", len(orders))

    by_day = orders.groupby("day", as_index=False)["total"].sum().round(2)
    store.parquet(orders, out / "orders.parquet")
    store.compressed(orders, out / "orders.csv.gz")
    store.database(by_day, out / "totals.db")
    best = orders.groupby("item")["total"].sum().idxmax()
    store.report(
        {"orders": len(orders), "revenue": float(orders["total"].sum().round(2)), "best": best,
         "currency": conf["currency"]},
        out / "report.json",
    )  # fmt: skip
    log.info("done")


if __name__ == "__main__":
    sys.exit(main())
