"""Reports: one file a reader, all made from the same results."""
