"""For all tests: pytest runs of pytest."""

pytest_plugins = ["pytester"]
