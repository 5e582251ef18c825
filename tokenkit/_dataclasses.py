"""What this package uses of :mod:`dataclasses`, without the time that loading that module and compiling methods takes.

What is decorated here is a dataclass to everybody else: :func:`dataclasses.replace`, ``fields`` and ``asdict`` take it,
:func:`inspect.signature` tells its parameters, and to type checkers, by the stub beside this module, the decorator is
the standard library's. Annotations must be strings, as ``from __future__ import annotations`` makes them.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import cached_property
from typing import Any

__all__ = ["KW_ONLY", "dataclass", "field", "replace"]

_MISSING: Any = object()
KW_ONLY = "KW_ONLY"


class _Field:
    """What is said of one field; unlike a parameter, it may be left out of ``__init__``, ``repr`` and ``==``."""

    __slots__ = ("compare", "default", "default_factory", "hash", "init", "kw_only", "name", "repr", "type")

    def __init__(
        self,
        *,
        default: Any = _MISSING,
        default_factory: Callable[[], Any] | None = None,
        init: bool = True,
        repr: bool = True,  # noqa: A002  # the standard library's name
        hash: bool | None = None,  # noqa: A002
        compare: bool = True,
    ) -> None:
        self.default = default
        self.default_factory = default_factory
        self.init = init
        self.repr = repr
        self.hash = compare if hash is None else hash
        self.compare = compare


field = _Field


def dataclass(
    *,
    init: bool = True,
    repr: bool = True,  # noqa: A002
    eq: bool = True,
    frozen: bool = False,
    kw_only: bool = False,
    slots: bool = False,
) -> Callable[[type], type]:
    """Return a decorator that does what :func:`dataclasses.dataclass` does; what is compared must be frozen."""

    def decorate(cls: type) -> type:
        fields = _declared(cls, kw_only=kw_only)
        made: Any = _slotted(cls, [one.name for one in fields]) if slots else cls
        made.__declared__ = fields
        if init:
            made.__init__ = _initializer(made, fields, frozen=frozen)
        if repr:
            made.__repr__ = _representer([one.name for one in fields if one.repr])
        if eq:
            compared, hashed = ([one.name for one in fields if getattr(one, what)] for what in ("compare", "hash"))
            made.__eq__, made.__hash__ = _comparer(compared), _hasher(hashed)
        if frozen:
            made.__setattr__, made.__delattr__ = _refuse_to_set, _refuse_to_delete
        if frozen and slots:
            made.__getstate__, made.__setstate__ = _state, _restore
        made.__match_args__ = tuple(one.name for one in fields if one.init and not one.kw_only)
        made.__replace__ = replace
        twin = _Twin(made, made.__init__, fields, {"init": init, "repr": repr, "eq": eq, "frozen": frozen})
        for name in ("__dataclass_fields__", "__dataclass_params__", *(["__signature__"] if init else [])):
            setattr(made, name, _OfTwin(name, twin))
        return made

    return decorate


def replace(instance: Any, /, **changes: Any) -> Any:
    """Return a new object like *instance*, with *changes*."""
    kept = {one.name: getattr(instance, one.name) for one in instance.__declared__ if one.init}
    return type(instance)(**{**kept, **changes})


def _declared(cls: type, *, kw_only: bool) -> list[_Field]:
    """Return the fields of *cls*, those of its parents first; one that is declared again keeps its place."""
    found = {one.name: one for base in reversed(cls.__mro__) for one in vars(base).get("__declared__", ())}
    for name, annotation in cls.__annotations__.items():
        if annotation == KW_ONLY:
            kw_only = True
        elif not annotation.startswith("ClassVar"):
            value = getattr(cls, name, _MISSING)  # of a descriptor, what it gives to the class
            one = value if isinstance(value, _Field) else _Field(default=value)
            one.name, one.type, one.kw_only = name, annotation, kw_only
            found[name] = one
            if one is value and one.default is not _MISSING:
                setattr(cls, name, one.default)
            elif one is value:
                delattr(cls, name)
    return list(found.values())


def _slotted(cls: type, names: list[str]) -> type:
    gone = {*names, "__dict__", "__weakref__"}
    made = type(cls)(
        cls.__name__,
        cls.__bases__,
        {"__slots__": tuple(names), **{name: value for name, value in vars(cls).items() if name not in gone}},
    )
    made.__qualname__ = cls.__qualname__
    return made


def _initializer(cls: type, fields: list[_Field], *, frozen: bool) -> Callable[..., None]:
    by_place = [one.name for one in fields if one.init and not one.kw_only]
    put = object.__setattr__ if frozen else setattr
    then = getattr(cls, "__post_init__", None) is not None

    def __init__(self: Any, /, *values: Any, **given: Any) -> None:
        if values:
            given = {**_placed(__init__, by_place, values, given), **given}
        left = len(given)
        for one in fields:
            if one.init and one.name in given:
                left -= 1
                put(self, one.name, given[one.name])
            elif one.default_factory is not None:
                put(self, one.name, one.default_factory())
            elif one.default is not _MISSING:
                put(self, one.name, one.default)
            elif one.init:
                raise _misfit(__init__, fields, given, one.name)
        if left:
            raise _misfit(__init__, fields, given, "")
        if then:
            self.__post_init__()

    __init__.__qualname__, __init__.__module__ = f"{cls.__qualname__}.__init__", cls.__module__
    __init__.__annotations__ = {**{one.name: one.type for one in fields if one.init}, "return": None}
    return __init__


def _misfit(init: Callable[..., None], fields: list[_Field], given: dict[str, Any], missing: str) -> TypeError:
    unknown = given.keys() - {one.name for one in fields if one.init}  # told first: it may be the missing one misspelt
    problem = f"got an unexpected argument {min(unknown)!r}" if unknown else f"misses the argument {missing!r}"
    return TypeError(f"{init.__qualname__}() {problem}")


def _placed(
    init: Callable[..., None], names: list[str], values: tuple[Any, ...], given: dict[str, Any]
) -> dict[str, Any]:
    if len(values) > len(names):
        raise TypeError(f"{init.__qualname__}() takes {len(names)} arguments by place, not {len(values)}")
    placed = dict(zip(names, values, strict=False))
    if placed.keys() & given.keys():
        raise TypeError(f"{init.__qualname__}() got two values for {min(placed.keys() & given.keys())!r}")
    return placed


def _representer(names: list[str]) -> Callable[[Any], str]:
    def __repr__(self: Any) -> str:
        return f"{type(self).__qualname__}({', '.join(f'{name}={getattr(self, name)!r}' for name in names)})"

    return __repr__


def _comparer(names: list[str]) -> Callable[[Any, object], bool]:
    def __eq__(self: Any, other: object) -> bool:
        if other.__class__ is not self.__class__:
            return NotImplemented
        return [getattr(self, name) for name in names] == [getattr(other, name) for name in names]

    return __eq__


def _hasher(names: list[str]) -> Callable[[Any], int]:
    def __hash__(self: Any) -> int:
        return hash(tuple([getattr(self, name) for name in names]))

    return __hash__


def _refuse_to_set(self: Any, name: str, value: object) -> None:
    import dataclasses

    raise dataclasses.FrozenInstanceError(f"cannot assign to field {name!r}")


def _refuse_to_delete(self: Any, name: str) -> None:
    import dataclasses

    raise dataclasses.FrozenInstanceError(f"cannot delete field {name!r}")


def _state(self: Any) -> list[Any]:
    return [getattr(self, one.name) for one in self.__declared__]


def _restore(self: Any, state: list[Any]) -> None:
    for one, value in zip(self.__declared__, state, strict=True):
        object.__setattr__(self, one.name, value)


class _Twin:
    """The standard library's dataclass of the same fields, made when somebody asks for what only that has."""

    def __init__(self, cls: type, init: Callable[..., None], fields: list[_Field], options: dict[str, bool]) -> None:
        self._name = cls.__name__
        self._fields = fields
        self._options = options
        self.init = init

    @cached_property
    def standard(self) -> type:
        import dataclasses

        fields = []
        for one in self._fields:
            default = {} if one.default is _MISSING else {"default": one.default}
            factory = {} if one.default_factory is None else {"default_factory": one.default_factory}
            told = {name: getattr(one, name) for name in ("init", "repr", "hash", "compare", "kw_only")}
            fields.append((one.name, one.type, dataclasses.field(**default, **factory, **told)))
        return dataclasses.make_dataclass(self._name, fields, **self._options)


class _OfTwin:
    """An attribute of a class that is its twin's; the signature is that of the class's own ``__init__`` alone."""

    __slots__ = ("_name", "_twin")

    def __init__(self, name: str, twin: _Twin) -> None:
        self._name = name
        self._twin = twin

    def __get__(self, instance: object, owner: Any) -> Any:
        if self._name != "__signature__":
            return getattr(self._twin.standard, self._name)
        if instance is not None or owner.__init__ is not self._twin.init:
            raise AttributeError(self._name)
        import inspect

        return inspect.signature(self._twin.standard)
