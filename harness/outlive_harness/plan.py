"""A documented import path: the names are in ``outlive_harness.results.plan``."""

from outlive_harness.results.plan import Plan, PlanError, Point, parse_plan, plan_text

__all__ = ["Plan", "PlanError", "Point", "parse_plan", "plan_text"]
