"""The orders of a shop: loaded, summed up, stored."""
