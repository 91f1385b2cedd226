"""Steps on Dask workers that share their markers and outputs on an object store.

    python dask_pipeline.py s3://bucket/monday

A worker that dies takes its step with it; Dask gives the step to another, which does it again from its
beginning. What it publishes is the same, and is published once.
"""

import sys

from distributed import Client, as_completed

from outlive.remote import Bucket, RemoteCheckpoints

PARTS = 8


def part(url: str, number: int) -> str:
    """Compute one part of the result, unless that was done."""
    bucket = Bucket(url)
    run = RemoteCheckpoints(bucket)
    name, key = f"part-{number}", f"parts/{number}.csv"
    if run.step_done(name, outputs=[key]):
        return f"skipped {name}"
    rows = "".join(f"{number},{value},{value * value}\n" for value in range(number * 100, number * 100 + 100))
    published = bucket.create(key, rows)  # False: a worker that died here had published it
    run.mark_done(name, outputs=[key])
    return f"ran {name}" if published else f"marked {name}"


def total(url: str) -> None:
    """Join the parts, all of which must be there."""
    bucket = Bucket(url)
    parts = {number: bucket.get(f"parts/{number}.csv") for number in range(PARTS)}
    missing = [number for number, part in parts.items() if part is None]
    if missing:
        raise RuntimeError(f"parts {missing} are not in {url}: they were removed since they were made")
    bucket.put("total.csv", b"".join(part for part in parts.values() if part is not None))


def main(url: str, client: Client) -> None:
    """Run what is not done yet."""
    steps = [client.submit(part, url, number, pure=False) for number in range(PARTS)]
    for step in as_completed(steps):
        print(step.result())
    total(url)


if __name__ == "__main__":
    with Client(n_workers=2, threads_per_worker=1) as dask:
        main(sys.argv[1], dask)
