"""The order of steps: what is wrong with it is said by name, at once or at the first use."""

from collections.abc import Callable, Sequence
from typing import Any

import pytest
from support.steps import Step

from tokenkit import ConfigurationError, TokenFetchPipeline
from tokenkit.pipeline._steps import in_order, upstream_of, with_dependents
from tokenkit.storage import InMemoryTokenStorage
from tokenkit.testing import FakeClock

USES: list[Callable[[TokenFetchPipeline], object]] = [
    lambda pipeline: pipeline.execute(),
    lambda pipeline: pipeline.execute(force_refresh=True),
    lambda pipeline: pipeline.invalidate_all(),
    lambda pipeline: pipeline.invalidate_step("user"),
]


def step(name: str, *depends_on: str) -> Step:
    return Step(name, depends_on, clock=FakeClock())


def odd(name: Any, depends_on: Any = ()) -> Step:
    return Step(name, depends_on, clock=FakeClock())


WRONG: list[tuple[str, Sequence[Any], list[str]]] = [
    ("no step", [], ["at least one step"]),
    ("unknown", [step("device"), step("user", "device", "app")], ["'user'", "'app'", "among device, user"]),
    ("unknown before late", [step("user", "app", "x"), step("app")], ["'user'", "'x'"]),
    ("late", [step("user", "app"), step("app")], ["'user'", "'app'", "before it"]),
    ("itself", [step("user", "user")], ["circle", "user"]),
    ("circle of two", [step("app", "user"), step("user", "app")], ["circle: app, user"]),
    ("circle of three", [step("a", "c"), step("b", "a"), step("c", "b")], ["circle: a, b, c"]),
    ("late before a circle", [step("x", "a"), step("a", "b"), step("b", "a")], ["'x'", "'a'", "before it"]),
    ("two of a name", [step("app"), step("user"), step("app")], ["two steps", "'app'"]),
    ("a string of dependencies", [step("a"), odd("user", "a")], ["'user'", "not str"]),
    ("no dependencies at all", [odd("user", None)], ["'user'", "not NoneType"]),
    ("no fetcher", [step("app"), "user"], ["TokenFetcher", "not str"]),
    ("no name", [odd("")], ["with a name", "Step"]),
    ("a name that is no string", [odd(7)], ["with a name", "Step"]),
]
each_wrong = pytest.mark.parametrize(("steps", "said"), [row[1:] for row in WRONG], ids=[row[0] for row in WRONG])


@each_wrong
def test_wrong_steps_are_refused_at_once(steps: Sequence[Any], said: list[str]) -> None:
    """An order that cannot work is a ValueError of the constructor, and names the steps."""
    with pytest.raises(ValueError) as refused:
        TokenFetchPipeline(steps, InMemoryTokenStorage())
    assert isinstance(refused.value, ConfigurationError)
    assert [] == [words for words in said if words not in str(refused.value)]


@each_wrong
@pytest.mark.parametrize("use", USES, ids=["execute", "force", "invalidate all", "invalidate"])
def test_wrong_steps_are_refused_at_their_use(
    steps: Sequence[Any], said: list[str], use: Callable[[TokenFetchPipeline], object]
) -> None:
    """Without validation the constructor is silent, and each use says the same, each time."""
    pipeline = TokenFetchPipeline(steps, InMemoryTokenStorage(), validate_dependencies=False)
    for _ in range(2):
        with pytest.raises(ValueError) as refused:
            use(pipeline)
        assert [] == [words for words in said if words not in str(refused.value)]


def test_wrong_steps_fetch_nothing() -> None:
    """A pipeline whose steps are wrong asks none of them."""
    first, last = step("device"), step("user", "app")
    pipeline = TokenFetchPipeline([first, last], InMemoryTokenStorage(), validate_dependencies=False)
    with pytest.raises(ConfigurationError):
        pipeline.execute()
    assert (0, 0) == (first.fetches, last.fetches)


def test_good_steps_need_no_validation() -> None:
    """Without validation, steps that are in order work as ever."""
    steps = [step("device"), step("user", "device")]
    pipeline = TokenFetchPipeline(steps, InMemoryTokenStorage(), validate_dependencies=False, clock=steps[0].clock)
    assert "user-1" == pipeline.execute().access_token


def test_steps_come_by_name_in_their_order() -> None:
    """Steps in order are given back by name."""
    steps = [step("device"), step("app", "device"), step("user", "app", "device")]
    assert [("device", steps[0]), ("app", steps[1]), ("user", steps[2])] == list(in_order(steps).items())


def test_what_lies_upstream_and_downstream() -> None:
    """Dependencies reach through other steps, in both directions, and leave strangers out."""
    by_name = in_order([step("a"), step("x"), step("b", "a"), step("c", "b"), step("d", "c", "x")])
    assert {"a", "b"} == upstream_of("c", by_name)
    assert set() == upstream_of("x", by_name)
    assert ("b", "c", "d") == with_dependents({"b"}, by_name)
    assert ("x", "d") == with_dependents(["x"], by_name)
