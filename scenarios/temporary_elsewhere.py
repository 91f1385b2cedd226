"""A temporary file in TMPDIR cannot be renamed into place: TMPDIR is another file system, and mv copies."""

from outlive_harness import scenario

temporary_elsewhere = scenario(
    command=["sh", "-c", 't=$(mktemp) && seq 500 > "$t" && mv "$t" out'],
    outputs="out",
    expect="torn-output",
)
