"""Which keys a table of the configuration may have: read off the signatures of what they configure.

It knows neither files nor environment variables, and never puts a value into a message.
"""

from __future__ import annotations

import difflib
import inspect
import json
import sys
import types
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import timedelta
from typing import Any, Union, final, get_args, get_origin, get_type_hints

from tokenkit._secrecy.references import ReferencedFields, as_value, references_in
from tokenkit.errors import ConfigurationError

__all__ = [  # values first
    *("FLAG", "SECRET", "SECRETS", "TABLE", "TABLES", "TEXT"),
    *("Key", "Location", "closest", "keys_of", "nearest", "prefixed", "read"),
]


@final
@dataclass(frozen=True)
class Location:
    """Where keys stand: a table, or the environment, whose texts are read as what they mean.

    Args:
        table: The table's name, for messages.
        prefix: What the names of its environment variables begin with; None: it is a table.
    """

    table: str
    prefix: str | None = None

    def label(self, key: str) -> str:
        """Return how a message names *key*."""
        return f"'{_printable(key)}' in {self}" if self.prefix is None else f"{self.prefix}_{key.upper()}"

    def below(self, section: str) -> Location:
        """Return the place of a table within this one."""
        prefix = None if self.prefix is None else f"{self.prefix}_{section.upper()}"
        return Location(f"{self.table}.{section}", prefix)

    def __str__(self) -> str:
        return f"[{_printable(self.table)}]" if self.prefix is None else f"{self.prefix}_*"


def _printable(name: str) -> str:
    return name if name.isprintable() else ascii(name)[1:-1]  # a line break could pass for another message


@final
@dataclass(frozen=True)
class _Form:
    """One kind of value that a key takes."""

    words: str
    accepts: Callable[[Any], bool]
    convert: Callable[[Any], Any] = lambda value: value


def _is_text(value: Any) -> bool:
    return isinstance(value, str)


def _is_number(value: Any) -> bool:
    if isinstance(value, bool) or not isinstance(value, (int, float)):
        return False
    return abs(value) <= sys.float_info.max  # neither infinite, nor NaN, nor a whole number of 400 digits


def _is_duration(value: Any) -> bool:
    return _is_number(value) and abs(value) <= timedelta.max.total_seconds() / 2


_TEXT = _Form("a string", _is_text)
_FLAG = _Form("true or false", lambda value: isinstance(value, bool))
_PLAIN = {
    str: _TEXT,
    bool: _FLAG,
    int: _Form("a whole number", lambda value: isinstance(value, int) and not isinstance(value, bool)),
    float: _Form("a number", _is_number),
    timedelta: _Form("a number of seconds", _is_duration, lambda value: timedelta(seconds=value)),
}
_TEXTS = _Form("an array of strings", lambda value: isinstance(value, (list, tuple)) and all(map(_is_text, value)))
_TABLE = _Form("a table", lambda value: isinstance(value, Mapping))
_TABLE_OF_TEXTS = _Form(
    "a table of strings", lambda value: isinstance(value, Mapping) and all(map(_is_text, value.values()))
)


@final
@dataclass(frozen=True)
class Key:
    """What one key takes.

    Args:
        forms: The kinds of values.
        refers: Whether a string may be a reference to a secret.
        required: Whether it must be there.
        argument: The parameter that it is given to, where that has another name.
    """

    forms: tuple[_Form, ...]
    refers: bool = False
    required: bool = False
    argument: str | None = None

    @property
    def is_secret(self) -> bool:
        """Whether it takes one secret."""
        return self.refers and _TEXT in self.forms

    def value(self, raw: Any, label: str) -> Any:
        """Return *raw* as the argument that it stands for.

        Raises:
            ConfigurationError: It is of another kind, or a reference without a place.
        """
        if _depth(raw) > _DEEPEST:
            raise ConfigurationError(f"{label} is nested more than {_DEEPEST} deep")
        form = next((one for one in self.forms if one.accepts(raw)), None)
        if form is None:
            wanted = " or ".join(dict.fromkeys(one.words for one in self.forms))
            raise ConfigurationError(f"{label} must be {wanted}, not {_kind(raw)}")
        return prefixed(label, lambda: _referring(form.convert(raw))) if self.refers else form.convert(raw)

    def parsed(self, text: str) -> Any:
        """Return the value that *text*, of an environment variable, means; other things than strings are JSON."""
        others = [form for form in self.forms if form is not _TEXT]
        if _FLAG in others and text.lower() in _FLAGS:
            return _FLAGS[text.lower()]
        try:
            value = json.loads(text.lower() if text.lower() in ("true", "false") else text) if others else text
        except (ValueError, RecursionError):
            return text
        return value if any(form.accepts(value) for form in others) else text


_FLAGS = {"yes": True, "on": True, "1": True, "no": False, "off": False, "0": False}
_DEEPEST = 50


def _depth(value: Any) -> int:
    """Return how deep *value* is nested, as far as that matters; a loop, as a call for each level has its limit."""
    depth, level = 0, [value]
    while level and depth <= _DEEPEST:
        inner = [one for one in level if isinstance(one, (Mapping, list, tuple))]
        level = [item for one in inner for item in (one.values() if isinstance(one, Mapping) else one)]
        depth += bool(inner)
    return depth


TEXT = Key((_TEXT,))
TABLES = Key((_Form("an array of tables", lambda value: isinstance(value, list) and all(map(_TABLE.accepts, value))),))
FLAG = Key((_FLAG,))
TABLE = Key((_TABLE,))
SECRET = Key((_TEXT,), refers=True)
SECRETS = Key((_TEXT, _TEXTS), refers=True)


def keys_of(
    target: type[Any], *, without: Iterable[str] = (), instead: Mapping[str, Key] = types.MappingProxyType({})
) -> dict[str, Key]:
    """Return the keys that configure *target*: its parameters that have a form in TOML.

    A parameter that may be a string or a function takes references too, and so do the values of one that may be a
    table or a function.

    Args:
        target: A class.
        without: Parameters that configuration does not set.
        instead: Keys that stand for one parameter each, which they name; it is left out under its own name.
    """
    # A dataclass takes over its parents' parameters, whose annotations are made of the names of their own modules.
    names = {
        name: value for one in reversed(target.__mro__) for name, value in vars(sys.modules[one.__module__]).items()
    }
    hints = get_type_hints(target.__init__, names)
    gone = {*without, *(key.argument for key in instead.values())}
    keys = {
        one.name: _key(hints[one.name], required=one.default is one.empty)
        for one in inspect.signature(target).parameters.values()
        if one.name in hints and one.name not in gone
    }
    return {**{name: key for name, key in keys.items() if key.forms}, **instead}


def read(raw: Mapping[str, Any], keys: Mapping[str, Key], place: Location, owner: str) -> dict[str, Any]:
    """Return *raw* as arguments.

    Args:
        raw: The table.
        keys: What it may hold.
        place: Where it stands.
        owner: What it configures, for messages.

    Raises:
        ConfigurationError: A key is not known, of the wrong kind, or missing.
    """
    for name in raw:
        if name not in keys:
            near = closest(str(name), keys)
            hint = f"the nearest known is {place.label(near)}" if near else f"known are {', '.join(sorted(keys))}"
            raise ConfigurationError(f"{place.label(str(name))} is not known for {owner}; {hint}")
    for name, key in keys.items():
        if key.required and name not in raw:
            raise ConfigurationError(f"{place.label(name)} is missing, which {owner} needs")
    return {keys[name].argument or name: keys[name].value(value, place.label(name)) for name, value in raw.items()}


def nearest(name: str, known: Iterable[str]) -> str:
    """Return a hint at the one of *known* that *name* is most likely a slip for; '' where it resembles none."""
    near = closest(name, known)
    return f"; the nearest is '{near}'" if near else ""


def closest(name: str, known: Iterable[str]) -> str | None:
    """Return the one of *known* that *name* is most likely a slip or a short form for; None where it resembles none."""
    names = list(known)
    longer = [one for one in names if len(name) > 2 and one.startswith(name)]
    near = longer or difflib.get_close_matches(name, names, n=1, cutoff=0.5 if len(name) < 6 else 0.7)
    return near[0] if near else None


def prefixed(where: object, build: Callable[[], Any]) -> Any:
    """Return what *build* returns; a ConfigurationError of it says *where*."""
    try:
        return build()
    except ConfigurationError as error:
        problem = error.message
    raise ConfigurationError(f"{where}: {problem}")


def _referring(value: Any) -> Any:
    referring = _with_references(value)
    is_table = isinstance(value, Mapping) and any(references_in(referring))
    return ReferencedFields(referring) if is_table else referring


def _with_references(value: Any) -> Any:
    if isinstance(value, str):
        return as_value(value)
    if isinstance(value, Mapping):
        return {name: _with_references(inner) for name, inner in value.items()}
    return [_with_references(inner) for inner in value] if isinstance(value, (list, tuple)) else value


def _key(annotation: Any, *, required: bool) -> Key:
    members = _members(annotation)
    forms = [form for form in map(_form, members) if form]
    if _PLAIN[float] in forms:  # what also takes a timedelta
        forms = [form for form in forms if form is not _PLAIN[timedelta]]
    # Lists are scopes, audiences and resources: public, and 'file:read' is a scope.
    refers = any(get_origin(one) is Callable for one in members) and _TEXTS not in forms
    return Key(tuple(forms), refers, required)


def _form(annotation: Any) -> _Form | None:
    if annotation in _PLAIN:
        return _PLAIN[annotation]
    origin, arguments = get_origin(annotation), get_args(annotation)
    if origin is Sequence and arguments == (str,):
        return _TEXTS
    if origin is tuple:
        inner = _PLAIN[arguments[0]]
        words = f"an array of {len(arguments)}"
        return _Form(words, lambda value: _is_array(value, len(arguments), inner), tuple)
    if origin is Mapping:
        return _TABLE_OF_TEXTS if arguments[1] is str else _TABLE
    return None


def _is_array(value: Any, length: int, inner: _Form) -> bool:
    return isinstance(value, (list, tuple)) and len(value) == length and all(map(inner.accepts, value))


def _members(annotation: Any) -> tuple[Any, ...]:
    return get_args(annotation) if get_origin(annotation) in (Union, types.UnionType) else (annotation,)


def _kind(value: Any) -> str:
    kinds = {str: "a string", bool: "a boolean", int: "a number", float: "a number", list: "an array", dict: "a table"}
    if isinstance(value, (int, float)) and not isinstance(value, bool) and not _is_number(value):
        return "one so large"
    return kinds.get(type(value), f"a {type(value).__name__}")
