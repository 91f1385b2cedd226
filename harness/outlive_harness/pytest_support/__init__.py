"""What the pytest plugin needs once there are scenarios: collection, the driver, the fixture, the summary.

pytest imports ``plugin`` in every run of every project that has this package; ``plugin`` imports the modules
of this room only when it needs them. This room may import ``report`` and everything below, but not ``cli``,
the other door. What does not concern pytest never comes in.
"""
