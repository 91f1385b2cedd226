"""Plan, deduplicate, run, collect: from a scenario and the faults asked for to a verdict."""
