"""Outputs and markers on an object store, for pipelines that run on more than one machine.

    bucket = Bucket("s3://results/monday", timeout=30)
    run = RemoteCheckpoints(bucket, run_id="monday")
    if not run.step_done("clean", outputs=["clean.csv"]):
        bucket.put("clean.csv", text)
        run.mark_done("clean", outputs=["clean.csv"])

An object appears whole or not at all: a put that is interrupted leaves the old object. A marker is made by a
conditional put, so that only one of several machines that finish a step has made it. S3 has conditional puts
since 2024 (`If-None-Match: *`,
https://docs.aws.amazon.com/AmazonS3/latest/userguide/conditional-requests.html).

A directory is a store as well (`file:///results`): its files are written as `atomic_write` writes, and are on
the disk before their markers. All other stores need obstore (`pip install 'outlive[remote]'`), or s3fs.

This package imports `outlive._atomic`, `outlive._checkpoints` and `outlive._system`. `import outlive` does
not import it.
"""

from ._bucket import Bucket, RemoteError
from ._checkpoints import RemoteCheckpoints
from ._store import Stat

__all__ = ["Bucket", "RemoteCheckpoints", "RemoteError", "Stat"]
