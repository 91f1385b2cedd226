"""Lines that are appended again from the first one after a crash are there twice, which a command finds."""

from outlive_harness import scenario

COUNT = """
test -e done && exit
for line in 1 2 3; do
    echo "$line" >> log
done
touch done
"""

lines_twice = scenario(
    command=["sh", "-c", COUNT], check="sort -cu log && cat log", faults="kill", expect="diverged"
)
