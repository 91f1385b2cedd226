"""A redirect makes its file before the command has filled it, and the next run takes it for finished."""

from outlive_harness import scenario

SCRIPT = """
mkdir -p out
test -e out/squares.csv ||
    awk 'BEGIN { for (i = 0; i < 5000; i++) print i "," i * i }' > out/squares.csv
"""

shell_redirect = scenario(command=["sh", "-euc", SCRIPT], outputs="out/*", expect=("torn-output", "diverged"))
