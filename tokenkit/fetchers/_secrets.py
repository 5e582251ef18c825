"""The one place that says when a fetcher may be copied and pickled, and what a refusal may quote.

A pickle is easily stored or sent, so a fetcher that holds a literal secret refuses to be pickled, save into a child
that ``multiprocessing`` is spawning, which gets it over a private pipe. The same rule guards ``AuthenticationString``
in the standard library.
"""

from __future__ import annotations

import base64
import copy
import html
import json
import re
from collections.abc import Iterable, Iterator, Mapping
from multiprocessing.context import get_spawning_popen
from typing import Any, ClassVar, final
from urllib.parse import quote, quote_plus, unquote_plus

__all__ = ["Scrubber", "SecretKeeper"]


class SecretKeeper:
    """Copies and pickles configuration only: what a subclass opens in :meth:`_open` is made anew in each copy."""

    secret_arguments: ClassVar[tuple[str, ...]] = ()
    """The arguments that may hold a secret. A subclass with further secrets adds their attributes' names."""
    _instead: ClassVar[str] = "give that as a callable (a function at module level)"
    _opened: ClassVar[tuple[str, ...]] = ()  # attributes that _open makes and that no copy takes along

    def _open(self) -> None:
        """Make the parts that a copy must not share."""

    def __getstate__(self) -> dict[str, Any]:
        name = type(self).__name__
        if getattr(self, "session", None) is not None:
            raise TypeError(f"{name} cannot be pickled with a session= of yours; leave it out")
        if get_spawning_popen() is None:
            for argument in self._literal_secrets():
                raise TypeError(
                    f"{name} cannot be pickled: it holds the secret {argument}=; {self._instead}, or let"
                    " multiprocessing hand the fetcher to a child that it spawns"
                )
        return self._configuration()

    def __setstate__(self, state: dict[str, Any]) -> None:
        vars(self).update(state)
        self._open()

    def __copy__(self) -> Any:
        return self.__deepcopy__({})

    def __deepcopy__(self, memo: dict[int, Any]) -> Any:
        twin = type(self).__new__(type(self))
        memo[id(self)] = twin
        containers = (dict, list, tuple, set)  # the rest is immutable, or the user's own to share
        twin.__setstate__(
            {
                name: copy.deepcopy(value, memo) if isinstance(value, containers) else value
                for name, value in self._configuration().items()
            }
        )
        return twin

    def _configuration(self) -> dict[str, Any]:
        return {name: value for name, value in vars(self).items() if name not in self._opened}

    def _literal_secrets(self) -> Iterator[str]:
        for argument in self.secret_arguments:
            value = getattr(self, argument, None)
            if value and not callable(value):
                yield argument
        proxies = getattr(self, "proxies", None) or {}
        if any("@" in str(proxy) for proxy in proxies.values()):
            yield "proxies"


# Parameters whose values are public, so that a message may keep them.
_PUBLIC = frozenset(
    {"accept", "audience", "client_assertion_type", "client_id", "content-type", "grant_type", "issued_token_type"}
    | {"requested_token_type", "resource", "scope", "subject_token_type", "actor_token_type", "token_type_hint"}
)


@final
class Scrubber:
    """Takes the secrets of one request out of what the endpoint says about it. Its own repr shows none.

    Args:
        fields: The headers and data that were sent, values as they are.
    """

    __slots__ = ("_pattern",)

    def __init__(self, *fields: Mapping[str, Any]) -> None:
        texts = {text for one in fields for name, value in one.items() for text in _texts(name, value)}
        secrets = {form for text in texts for form in _forms(text)}
        patterns = [
            # A short one is only taken out where it stands alone: 'a' is in every word.
            re.escape(text) if len(text) > 3 else rf"(?<!\w){re.escape(text)}(?!\w)"
            for text in sorted(secrets, key=len, reverse=True)
        ]
        self._pattern = re.compile("|".join(patterns), re.IGNORECASE) if patterns else None

    def clean(self, text: object, limit: int = 200) -> str | None:
        """Return *text* without secrets and control characters, shortened; None where it is no text or empty."""
        if not isinstance(text, str):
            return None
        if self._pattern is not None:
            text = self._pattern.sub("[secret]", text)
        printable = "".join(character if character.isprintable() else " " for character in text).strip()
        return (printable if len(printable) <= limit else printable[: limit - 3] + "...") or None


def _texts(name: str, value: Any) -> Iterable[str]:
    if name.lower() in _PUBLIC:
        return
    if isinstance(value, Mapping):
        for key, inner in value.items():
            yield from _texts(str(key), inner)
    elif isinstance(value, (list, tuple)):
        for inner in value:
            yield from _texts(name, inner)
    elif isinstance(value, bytes):
        yield from _texts(name, value.decode("latin-1"))
    elif value is not None and not isinstance(value, bool) and str(value):
        yield str(value)
        yield from (part for part in str(value).split(" ") if len(part) > 8)  # 'Bearer abc...'
        yield from _basic_password(str(value))


def _forms(text: str) -> set[str]:
    """Return *text* as it is, and as a form, a URL, JSON or HTML writes it, which is how it may come back."""
    return {text, quote_plus(text), quote(text, safe=""), json.dumps(text)[1:-1], html.escape(text)}


def _basic_password(header: str) -> Iterator[str]:
    scheme, _space, encoded = header.partition(" ")
    if scheme.lower() == "basic":
        try:
            password = base64.b64decode(encoded).decode().partition(":")[2]
        except ValueError:
            return  # not Basic credentials after all
        yield from {password, unquote_plus(password)} - {""}
