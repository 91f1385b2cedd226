"""From a violation to the line to change: where ops come from, causes, repairs that were tried."""
