"""Outlive: files and checkpoints that survive a crash."""
