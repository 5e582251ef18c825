"""Values that stand elsewhere until they are needed: in an environment variable, a file, or the system's keyring.

A reference is a function object, so every fetcher takes one where it takes a function: it is read at each try, which
sees a rotated secret, and a pickle carries no more than the name of the place.
"""

from __future__ import annotations

import hashlib
import os
import re
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, final

from tokenkit._dataclasses import dataclass
from tokenkit._secrecy.files import read_secret
from tokenkit.contracts import FetchContext, takes_context
from tokenkit.errors import AuthenticationError, ConfigurationError, SourceUnavailableError

__all__ = [
    "ReferencedFields",
    "SecretReference",
    "StepReference",
    "as_value",
    "digest_behind",
    "from_context",
    "given",
    "is_marked",
    "keyring_place",
    "references_in",
    "resolved",
]

_SCHEMES = ("env", "file", "keyring", "literal", "step")
# What shells, templates and other programs write: it would be sent as the secret itself.
_ELSEWHERE = (
    r"\$\{|\$\(|\{\{|\$[A-Z_][A-Z0-9_]*\Z|(?:env|file|keyring|literal|step|environment|var|variable|path|vault|op|aws|ssm|gcp"
    r"|azure|secrets?|secretsmanager|keychain|pass|sops|k8s|kubernetes|doppler|bw|bitwarden|cmd|command|exec):(?=\S)"
)


@final
@dataclass(frozen=True)
class SecretReference:
    """The place of a secret; calling it reads the secret.

    Args:
        scheme: 'env', 'file' or 'keyring'.
        place: The variable's name, the path, or SERVICE/USER.
    """

    scheme: str
    place: str

    def __str__(self) -> str:
        return f"{self.scheme}:{self.place}"

    def __call__(self) -> str:
        """Read the secret.

        Raises:
            AuthenticationError: There is none; transient where it may come yet. The message names the place.
        """
        return _READERS[self.scheme](self.place)

    def cache_identity(self) -> str | None:
        """Return what stands there, which tells one tenant from another; None where nothing can be read."""
        try:
            return self()
        except AuthenticationError:
            return None


@final
@dataclass(frozen=True)
class StepReference:
    """The token of an earlier step; calling it with the context gives that.

    Args:
        step: The step's name.
    """

    step: str

    def __call__(self, context: FetchContext) -> str:
        """Return the token.

        Raises:
            KeyError: The step is not among those that this one depends on.
        """
        return context[self.step].access_token

    def cache_identity(self) -> str:
        """Return the step's name: the pipeline's keys say whose token that is."""
        return f"step:{self.step}"


@final
@dataclass(frozen=True, repr=False)
class ReferencedFields:
    """A table with references among its values; calling it returns the table with what they refer to.

    Args:
        fields: The table. Its literal values are taken to be no secrets, since those beside them are references.
    """

    fields: Mapping[str, Any]

    def __call__(self, context: FetchContext | None = None) -> dict[str, Any]:
        """Read the references.

        Raises:
            AuthenticationError: One cannot be read.
        """
        return {name: resolved(value, context) for name, value in self.fields.items()}

    def cache_identity(self) -> dict[str, Any] | None:
        """Return the table as it is now; None where it cannot be read."""
        try:
            return {name: _identity(value) for name, value in self.fields.items()}
        except AuthenticationError:
            return None


def _identity(value: Any) -> Any:
    if isinstance(value, StepReference):
        return value.cache_identity()
    if isinstance(value, Mapping):
        return {name: _identity(inner) for name, inner in value.items()}
    return [_identity(inner) for inner in value] if isinstance(value, list) else resolved(value)


def as_value(text: str) -> str | SecretReference | StepReference:
    """Return the reference that *text* is, or the text itself, without 'literal:' before it.

    Raises:
        ConfigurationError: A reference has no place, or the extra ``[keyring]`` is not installed; or *text* is what
            other programs write for a secret that stands elsewhere.
    """
    if not is_marked(text):
        if re.match(_ELSEWHERE, text, re.IGNORECASE):
            raise ConfigurationError(
                "this looks like a reference of another kind; write env:NAME, file:PATH, keyring:SERVICE/USER, or"
                " literal:TEXT for a text that begins so"
            )
        return text
    scheme, _colon, place = text.partition(":")
    if scheme == "literal":
        return place
    if scheme == "keyring":
        keyring_place(place)
    if not place:
        raise ConfigurationError(f"a place is missing after {scheme}:")
    return StepReference(place) if scheme == "step" else SecretReference(scheme, place)


def keyring_place(place: str) -> str:
    """Return *place*, which is SERVICE/USER.

    Raises:
        ConfigurationError: It is not, or the extra ``[keyring]`` is not installed.
    """
    service, _slash, user = place.rpartition("/")
    if not service or not user:
        raise ConfigurationError("a secret in the keyring is written keyring:SERVICE/USER")
    _keyring()
    return place


def is_marked(text: str) -> bool:
    """Return whether *text* begins with the word that makes it a reference, or says that it is none."""
    scheme, colon, _place = text.partition(":")
    return bool(colon) and scheme in _SCHEMES


def resolved(value: Any, context: FetchContext | None = None) -> Any:
    """Return *value* with what its references refer to, wherever in it they are.

    Raises:
        AuthenticationError: One cannot be read.
    """
    if isinstance(value, SecretReference):
        return value()
    if isinstance(value, StepReference):
        return value(given(context))
    if isinstance(value, Mapping):
        return {name: resolved(inner, context) for name, inner in value.items()}
    return [resolved(inner, context) for inner in value] if isinstance(value, list) else value


def references_in(value: Any) -> Iterator[SecretReference | StepReference]:
    """Yield the references that *value* is or has in it."""
    if isinstance(value, (SecretReference, StepReference)):
        yield value
    elif isinstance(value, ReferencedFields):
        yield from references_in(value.fields)
    elif isinstance(value, Mapping):
        for inner in value.values():
            yield from references_in(inner)
    elif isinstance(value, (list, tuple)):
        for inner in value:
            yield from references_in(inner)


def digest_behind(values: Any) -> str | None:
    """Return what tells the secrets behind the references in *values*, as they are now, from other ones; None: none."""
    found = [one.cache_identity() or "" for one in references_in(values) if isinstance(one, SecretReference)]
    return hashlib.sha256("\0".join(found).encode("utf-8", "surrogatepass")).hexdigest() if found else None


def _read_variable(name: str) -> str:
    text = os.environ.get(name, "").strip()
    if not text:
        raise SourceUnavailableError(f"the environment variable {name} is not set, or empty")
    return text


def _read_file(path: str) -> str:
    return read_secret(Path(path).expanduser(), step_name=None)


def _read_keyring(place: str) -> str:
    service, _slash, user = place.rpartition("/")
    keyring = _keyring()
    try:
        secret: str | None = keyring.get_password(service, user)
        problem = "" if secret else "has no such entry"
    except Exception as error:  # a backend is foreign code; its text is not shown
        secret, problem = None, f"cannot be read ({type(error).__name__})"
    if not secret:
        transient = problem.startswith("cannot")
        raise AuthenticationError(f"the keyring {problem}: {service}/{user}", transient=transient)
    return secret


def _keyring() -> Any:
    try:
        import keyring
    except ImportError:
        raise ConfigurationError("keyring:SERVICE/USER needs the extra requests-tokenkit[keyring]") from None
    return keyring


_READERS = {"env": _read_variable, "file": _read_file, "keyring": _read_keyring}


def given(context: FetchContext | None) -> FetchContext:
    """Return *context*, or an empty one where there is none."""
    return FetchContext() if context is None else context  # one without tokens is false, but has a limit and a clock


def from_context(value: Any, context: FetchContext) -> Any:
    """Return *value*, or what it returns if it is a function; that is given the context if it takes one."""
    if not callable(value):
        return value
    return value(context) if takes_context(value) else value()
