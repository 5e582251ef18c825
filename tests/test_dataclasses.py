"""The package's own decorator, held to the standard library's: what is true of one is true of the other."""

from __future__ import annotations

import copy
import dataclasses
import inspect
import pickle
from collections.abc import Callable
from dataclasses import KW_ONLY
from types import SimpleNamespace
from typing import Any, ClassVar, get_type_hints

import pytest

from tokenkit import _dataclasses as ours


class _Upper:
    """A descriptor as a default, which gives the class its default and an instance what it keeps."""

    def __get__(self, instance: Any, owner: type) -> str | None:
        return None if instance is None else vars(instance)["_kept"]

    def __set__(self, instance: Any, value: str | None) -> None:
        vars(instance)["_kept"] = value and value.upper()


def _classes(of: Any) -> SimpleNamespace:
    @of.dataclass(frozen=True, slots=True)
    class Value:
        """A value."""

        text: str
        number: int = 1
        table: dict[str, int] = of.field(default_factory=dict, hash=False)
        hidden: str | None = of.field(default=None, repr=False)
        made: str = of.field(init=False, compare=False)
        limit: ClassVar[int] = 3

        def __post_init__(self) -> None:
            object.__setattr__(self, "made", self.text * self.number)

    @of.dataclass(frozen=True, kw_only=True)
    class Keywords:
        """All by name."""

        first: int
        second: int = 2

    @of.dataclass(eq=False, repr=False, init=False, kw_only=True)
    class Parent:
        """Its fields come first."""

        timeout: float = 3.0
        verify: bool = True

    @of.dataclass(eq=False, repr=False)
    class Child(Parent):
        """With a place, a keyword-only field, and one of the parent's with another default."""

        place: str
        _: KW_ONLY
        key: str | None = _Upper()  # type: ignore[assignment]
        timeout: float = 5.0

    return SimpleNamespace(Value=Value, Keywords=Keywords, Parent=Parent, Child=Child)


OURS, STANDARD = _classes(ours), _classes(dataclasses)
NAMES = ["Value", "Keywords", "Parent", "Child"]
CALLS: dict[str, Callable[[Any], Any]] = {
    "by place": lambda of: of.Value("a", 2),
    "by name": lambda of: of.Value(number=2, text="a", table={"b": 1}),
    "shown": lambda of: repr(of.Value("a")),
    "compared": lambda of: (of.Value("a") == of.Value("a"), of.Value("a") == of.Value("b"), of.Value("a") == "a"),
    "hashed": lambda of: hash(of.Value("a")) == hash(of.Value("a", table={"b": 1})),
    "keywords": lambda of: repr(of.Keywords(first=1)),
    "own default": lambda of: vars(of.Child("p")),
    "descriptor": lambda of: of.Child("p", key="k", verify=False).key,
    "no parameters": lambda of: of.Parent().timeout,
    "replaced": lambda of: repr(dataclasses.replace(of.Value("a"), number=3)),
    "as a table": lambda of: dataclasses.asdict(of.Value("a", table={"b": 1})),
    "names of fields": lambda of: [(one.name, one.type, one.kw_only) for one in dataclasses.fields(of.Child)],
    "matched": lambda of: (of.Value.__match_args__, of.Keywords.__match_args__, of.Child.__match_args__),
    "slots": lambda of: (of.Value.__slots__, hasattr(of.Value("a"), "__dict__")),
    "class variable": lambda of: of.Value.limit,
    "copied": lambda of: copy.copy(of.Value("a", 2)).made,
    "state": lambda of: of.Value("a", 2).__getstate__(),
    "no argument": lambda of: of.Value(),
    "unknown argument": lambda of: of.Value("a", other=1),
    "too many": lambda of: of.Value("a", 1, {}, None, "made"),
    "twice": lambda of: of.Value("a", text="b"),
    "by place though by name": lambda of: of.Keywords(1),
    "changed": lambda of: setattr(of.Value("a"), "text", "b"),
    "deleted": lambda of: delattr(of.Keywords(first=1), "first"),
    "unhashable": lambda of: {of.Value({})},
}


def _outcome(call: Callable[[Any], Any], of: Any) -> Any:
    try:
        found = call(of)
    except Exception as error:
        return type(error)
    return {name: getattr(found, name) for name in found.__slots__} if hasattr(found, "__slots__") else found


@pytest.mark.parametrize("call", CALLS.values(), ids=CALLS)
def test_it_does_what_the_standard_one_does(call: Callable[[Any], Any]) -> None:
    """Each use gives the same result, or raises the same class of error."""
    assert _outcome(call, STANDARD) == _outcome(call, OURS)


@pytest.mark.parametrize("name", NAMES)
def test_parameters_are_told(name: str) -> None:
    """Documentation tools and configuration see the parameters, their defaults and their annotations."""
    standard, own = getattr(STANDARD, name), getattr(OURS, name)
    assert str(inspect.signature(standard)) == str(inspect.signature(own))
    assert getattr(standard.__init__, "__annotations__", None) == getattr(own.__init__, "__annotations__", None)


def test_the_parameters_of_a_subclass_are_its_own() -> None:
    """A class that a user derives, plainly or as a dataclass, tells the parameters that it takes."""

    class Plain(OURS.Child):  # type: ignore[misc]
        def __init__(self, only: int) -> None:
            super().__init__("p", timeout=only)

    @dataclasses.dataclass
    class Further(OURS.Child):  # type: ignore[misc]
        place: str = "here"
        further: int = 1

    assert ["only"] == list(inspect.signature(Plain).parameters)
    assert 7 == Plain(7).timeout
    assert {"place", "further", "verify", "timeout", "key"} == set(inspect.signature(Further).parameters)
    assert (2, 5.0, "K") == (Further(further=2, key="k").further, Further().timeout, Further(key="k").key)


def test_an_object_that_is_called_has_its_own_parameters() -> None:
    """Only the class has those of its ``__init__``."""

    @ours.dataclass(frozen=True)
    class Reference:
        place: str

        def __call__(self, context: object) -> str:
            return self.place

    assert ["context"] == list(inspect.signature(Reference("p")).parameters)


@ours.dataclass(frozen=True, slots=True)
class Pickled:
    """At module level, as pickle wants it."""

    text: str
    number: int = 1


def test_a_frozen_value_with_slots_pickles() -> None:
    """It comes back as it was."""
    assert Pickled("a", 2) == pickle.loads(pickle.dumps(Pickled("a", 2)))
    assert get_type_hints(Pickled.__init__) == {"text": str, "number": int, "return": type(None)}
