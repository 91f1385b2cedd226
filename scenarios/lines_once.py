"""A command judges what was recovered: no line of the log is missing, and none is there twice."""

from outlive_harness import scenario

COUNT = """
done=$(cat log 2>/dev/null | wc -l)
for line in 1 2 3; do
    test "$line" -le "$done" || echo "$line" >> log
done
"""

lines_once = scenario(command=["sh", "-c", COUNT], check="sort -cu log && cat log", faults="kill")
