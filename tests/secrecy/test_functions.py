"""Functions in the place of values: what their code tells, and what it does not."""

import os
import subprocess
import sys
from collections.abc import Callable
from functools import partial
from os import environ
from typing import Any

import pytest

from tokenkit._secrecy.functions import told_of
from tokenkit._secrecy.identity import canonical

TENANT = "one"
SETTINGS = {"tenant": {"names": ["one"]}}
OBJECT = object()


def helper() -> str:
    return TENANT


def circle(depth: int) -> str:
    return circle(depth - 1) if depth else helper()


def key(function: Callable[..., Any]) -> bytes:
    return canonical(function, "own")


# Each on a line of its own, so that the name and the module never tell two of them apart.
READERS: list[Callable[..., Any]] = [
    lambda: TENANT,
    lambda: f"{TENANT}-x",
    lambda: SETTINGS["tenant"],
    lambda: helper().upper(),
    lambda: circle(3),
    lambda: [TENANT for _ in range(2)],
    lambda: (lambda: TENANT)(),
    lambda: os.environ["T_TENANT"],
    lambda: os.environ["T_TENANT"].strip() or str(1),
    lambda: os.environ.get("T_TENANT", ""),
    lambda: os.environ.get("T_TENANT"),
    lambda: os.getenv("T_TENANT", None),
    lambda: os.getenv("T_TENANT"),
    lambda: environ["T_TENANT"],
    lambda context: context["user"].access_token + environ.get("T_TENANT", ""),
]


@pytest.mark.parametrize("function", READERS)
def test_what_a_function_reads_tells_two_tenants_apart(
    function: Callable[..., Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    """A global or a variable with another value is another key; with the first one again, the first key."""
    seen = []
    for tenant in ("one", "two", "one"):
        monkeypatch.setitem(globals(), "TENANT", tenant)
        monkeypatch.setitem(SETTINGS, "tenant", {"names": [tenant]})
        monkeypatch.setenv("T_TENANT", tenant)
        assert told_of(function) is not None
        seen.append(key(function))
    assert seen[0] == seen[2] != seen[1]


@pytest.mark.parametrize("function", READERS)
def test_an_unset_variable_is_a_value_too(function: Callable[..., Any], monkeypatch: pytest.MonkeyPatch) -> None:
    """Nothing fails before the function is called."""
    monkeypatch.delenv("T_TENANT", raising=False)
    assert told_of(function) is not None


def with_default(value: str = "a") -> str:
    return value


def with_keyword(*, value: str = "a") -> str:
    return value


def importing() -> str:
    import socket

    return socket.gethostname()


def remembering() -> str:
    global OBJECT
    OBJECT = "changed"
    return "a"


@pytest.mark.parametrize(
    "function",
    [
        *(with_default, with_keyword, importing, remembering, partial(str, "a"), "a".upper, str),
        lambda: OBJECT,
        lambda: str(OBJECT),
        lambda: sys.argv[0],
        lambda: os.environ[TENANT],
        lambda: os.environ[f"T_{TENANT}"],
        lambda: os.environ.get("T_" + TENANT),
        lambda: os.getenv("T_%s" % TENANT),  # noqa: UP031 - another way to make a name
        lambda: os.getenv("T_" + str(1)),
        lambda: dict(os.environ)["T_TENANT"],
        lambda: os.getpid(),
        lambda: open("a").read(),  # noqa: SIM115, PTH123 - never called
        lambda: missing,  # type: ignore[name-defined]  # noqa: F821 - never called
        lambda: [importing() for _ in range(1)],
    ],
)
def test_what_the_code_does_not_tell_makes_a_function_its_own(function: Callable[..., Any]) -> None:
    """Two tenants could differ by just that."""
    assert told_of(function) is None
    assert canonical(function, "own") != canonical(function, "another")


def test_every_constant_counts() -> None:
    """Inner ones too: of tuples, sets and functions within the function."""
    functions = [
        *(
            lambda: ("a", "b"),
            lambda: ("a", "c"),
            lambda x: x in {"a", 1},
            lambda x: x in {"b", 1},
            lambda: 1,
            lambda: True,
        ),
        *(lambda: [one + "a" for one in "x"], lambda: [one + "b" for one in "x"], lambda: 1.0, lambda: b"1"),
    ]
    assert len(functions) == len({key(function) for function in functions})


def test_a_function_without_state_is_shared() -> None:
    """It is told by its code alone."""
    assert key(lambda context: context["user"].access_token).startswith(b"f")
    assert told_of(lambda context: context["user"].access_token) is not None


def test_two_processes_tell_the_same() -> None:
    """A key is there to be shared."""
    script = (
        "import os, sys, hashlib; from tokenkit._secrecy.identity import canonical\n"
        "NAMES = {'a', 'b', 'c'}\n"
        "function = lambda x: (x in {'d', 'e', 'f'}, NAMES, os.environ['HOME'], [one for one in x])\n"
        "print(hashlib.sha256(canonical(function, os.urandom(8).hex())).hexdigest())"
    )
    said = {
        subprocess.run(
            [sys.executable, "-c", script],
            env={**os.environ, "PYTHONHASHSEED": seed},
            capture_output=True,
            text=True,
            timeout=30,
            check=True,
        ).stdout
        for seed in "12"
    }
    assert 1 == len(said)
