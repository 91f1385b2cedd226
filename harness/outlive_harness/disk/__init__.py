"""Files as data: trees taken from the disk, and trees that the model of the disk predicts."""
