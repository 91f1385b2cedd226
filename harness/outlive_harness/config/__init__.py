"""The configuration: what ``[tool.outlive]`` in a project's pyproject.toml says, checked and put to use.

Each key is the default of the option of its name, for the command line and under pytest alike. This room may
import everything below, but neither door. What one scenario or one command line says itself never comes in.
"""
