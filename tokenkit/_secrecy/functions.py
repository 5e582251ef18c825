"""What a function's result hangs on, told from its code: calling it would be a fetch of its own, or fail.

Told are constants, globals that are plain values, environment variables that the code names, and functions of which as
much can be told. Whatever is given to the function is not: in a pipeline that is the tokens upstream, which have keys.
"""

from __future__ import annotations

import builtins
import dis
import os
from collections.abc import Iterator, Mapping, Sequence
from types import CodeType, FunctionType
from typing import Any, final

__all__ = ["told_of"]

_READS = {"LOAD_GLOBAL", "LOAD_NAME"}
_OPAQUE = {"IMPORT_NAME", "IMPORT_STAR", "LOAD_BUILD_CLASS", "STORE_GLOBAL", "DELETE_GLOBAL"}
_LOOKUPS = {("environ",), ("environ", "get"), ("getenv",)}
_USES = {"BINARY_SUBSCR", "BINARY_OP", "PRECALL", "CALL", "CALL_METHOD", "CALL_FUNCTION"}
_PLAIN = (str, bytes, int, float, type(None))
# Builtins whose result hangs on their arguments alone.
_PURE: tuple[object, ...] = (
    *(all, any, bool, bytes, dict, enumerate, filter, float, frozenset, getattr, int, isinstance, len, list, map, max),
    *(min, range, repr, reversed, set, sorted, str, sum, tuple, zip),
)
_NOWHERE = object()


@final
class _UntellableError(Exception):
    """Something has a say that the code does not show."""


def told_of(function: object) -> list[Any] | None:
    """Return what the result of *function* hangs on, beside its arguments; None where its code does not tell.

    It is the same in every process that runs the same program with the same values. None is returned of closures,
    methods, defaults and other objects, and of code that reads a global with a life of its own.
    """
    try:
        return _told(function, ())
    except _UntellableError:
        return None


def _told(function: object, callers: tuple[object, ...]) -> list[Any]:
    if function in callers:
        return ["again", callers.index(function)]
    if not isinstance(function, FunctionType):
        raise _UntellableError
    if function.__closure__ or function.__defaults__ or function.__kwdefaults__:
        raise _UntellableError
    inner = list(_code(function.__code__, function.__globals__, (*callers, function)))
    return [function.__module__, function.__qualname__, inner]


def _code(code: CodeType, namespace: Mapping[str, Any], callers: tuple[object, ...]) -> Iterator[Any]:
    yield from (code.co_code, code.co_names)
    for constant in code.co_consts:
        yield list(_code(constant, namespace, callers)) if isinstance(constant, CodeType) else constant
    instructions = list(dis.get_instructions(code))
    for number, one in enumerate(instructions):
        if one.opname in _OPAQUE:
            raise _UntellableError
        if one.opname in _READS:
            value = namespace.get(one.argval, getattr(builtins, one.argval, _NOWHERE))
            yield [one.argval, _read(value, instructions[number + 1 :], callers)]


def _read(value: object, following: Sequence[dis.Instruction], callers: tuple[object, ...]) -> object:
    if value is os or value is os.environ:
        return _variable([] if value is os else ["environ"], following)
    if isinstance(value, FunctionType):
        return _told(value, callers)
    if _is_plain(value):
        return value
    if any(value is one for one in _PURE) or (isinstance(value, type) and issubclass(value, BaseException)):
        return []  # the name says it
    raise _UntellableError


def _variable(path: list[str], following: Sequence[dis.Instruction]) -> list[str | None]:
    """Return the environment variable that the code looks up next, and its value."""
    for number, one in enumerate(following):
        if one.opname in ("LOAD_ATTR", "LOAD_METHOD"):
            path.append(one.argval)
        elif one.opname == "LOAD_CONST" and isinstance(one.argval, str) and tuple(path) in _LOOKUPS:
            after = [later.opname for later in following[number + 1 : number + 3]]
            if after[after[0] == "LOAD_CONST"] not in _USES:  # a default may come first; else it is a part of a name
                break
            return [one.argval, os.environ.get(one.argval)]
        elif one.opname != "PUSH_NULL":
            break
    raise _UntellableError


def _is_plain(value: object) -> bool:
    if isinstance(value, Mapping):
        return all(isinstance(name, str) and _is_plain(inner) for name, inner in value.items())
    if isinstance(value, (list, tuple, set, frozenset)):
        return all(_is_plain(inner) for inner in value)
    return isinstance(value, _PLAIN)
