"""How hypothesis should run a test that crashes pipelines."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, TypeVar, overload

from hypothesis import HealthCheck, Phase, settings

Test = TypeVar("Test", bound=Callable[..., Any])

#: What differs from any other test: an example runs a program several times; the explain phase takes as long
#: as all the rest and names only lines of the test and of this package, as the pipeline is another process;
#: the fixture lives as long as the session; an input that yields no output is dropped, however many do.
_CHANGES: dict[str, Any] = {
    "deadline": None,
    "phases": tuple(phase for phase in Phase if phase is not Phase.explain),
    "report_multiple_bugs": False,
    "suppress_health_check": (HealthCheck.function_scoped_fixture, HealthCheck.filter_too_much),
}

settings.register_profile("outlive", parent=settings.get_profile("default"), **_CHANGES)


@overload
def outlive_settings(test: Test, /) -> Test: ...


@overload
def outlive_settings(**changes: Any) -> settings: ...  # noqa: ANN401 - hypothesis knows the type of each


def outlive_settings(test: Any = None, /, **changes: Any) -> Any:
    """Return hypothesis settings for a test that crashes pipelines, to decorate it with or without arguments.

    No deadline, since an example runs a program several times; no explain phase, which takes half of a
    failing test and names only lines of the test and of outlive; one failure is reported, the smallest; and
    no health check of fixtures' scopes, or of examples that are dropped. The rest is as in the profile that
    is loaded where the test is defined. All of it is also the profile ``outlive``, once
    ``outlive_harness.strategies`` is imported: ``settings.load_profile("outlive")``.

    Args:
        test: the test, if the decorator has no arguments.
        **changes: other settings, as hypothesis.settings takes them: ``max_examples=20``.
    """
    made = settings(settings.default, **_CHANGES | changes)
    return made if test is None else made(test)
