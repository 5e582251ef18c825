"""What a configuration says, made into the parts of a manager: a source, a storage, a policy.

Nothing is fetched, and no secret is read that a fetcher could read itself later.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any, final

from tokenkit import storage as storages
from tokenkit._secrecy.references import SecretReference, references_in, resolved
from tokenkit.config._fetchers import GivenTokenFetcher, KeyedBodyFetcher, KeyedHeaderFetcher, KeyedHttpFetcher
from tokenkit.config._schema import FLAG, SECRET, SECRETS, TABLE, TEXT, Key, Location, keys_of, nearest, prefixed, read
from tokenkit.contracts import TokenFetcher, TokenStorage
from tokenkit.errors import AuthenticationError, ConfigurationError
from tokenkit.fetchers import (
    ClientCredentialsFetcher,
    CommandTokenFetcher,
    EnvTokenFetcher,
    FileTokenFetcher,
    JwtBearerFetcher,
    PasswordFetcher,
    RefreshTokenFetcher,
    TokenExchangeFetcher,
)
from tokenkit.policy import RefreshPolicy

__all__ = ["Parts", "fetcher_class", "own_keys", "parts_of", "storage_class", "storage_keys"]

_GRANTS: dict[str, type[TokenFetcher]] = {
    "client_credentials": ClientCredentialsFetcher,
    "password": PasswordFetcher,
    "refresh_token": RefreshTokenFetcher,
    "jwt_bearer": JwtBearerFetcher,
    "token_exchange": TokenExchangeFetcher,
}
_SOURCES: dict[str, type[TokenFetcher]] = {
    "body": KeyedBodyFetcher,
    "command": CommandTokenFetcher,
    "environment": EnvTokenFetcher,
    "file": FileTokenFetcher,
    "header": KeyedHeaderFetcher,
    "http": KeyedHttpFetcher,
    "static": GivenTokenFetcher,
}
_STORAGES = {
    "django": "DjangoCacheTokenStorage",
    "file": "FileTokenStorage",
    "keyring": "KeyringTokenStorage",
    "memory": "InMemoryTokenStorage",
    "redis": "RedisTokenStorage",
}
_REDIS_URL = replace(SECRET, required=True, argument="client_or_url")
# A lone fetcher depends on no step, and a session is an object of the program's.
_NOT_CONFIGURED = ("depends_on", "session")


@final
@dataclass(frozen=True)
class Parts:
    """The parts of one manager.

    Args:
        place: Where they are described, for messages, such as ``[orders]``.
        source: Where tokens come from.
        storage: Where they are shared; None: nowhere.
        policy: When they are renewed.
        background: Whether a thread renews them.
        references: The secrets that the source reads at each try, by reference.
    """

    place: str
    source: TokenFetcher
    storage: TokenStorage | None
    policy: RefreshPolicy
    background: bool
    references: tuple[SecretReference, ...]


def parts_of(table: Mapping[str, Any], place: Location, *, look_up: bool = True) -> Parts:
    """Return what *table* says.

    Args:
        table: The configuration of one manager.
        place: Where it stands; its name is the source's, where the table names none.
        look_up: Whether to read the secrets that the storage needs. False leaves out a storage with references.

    Raises:
        ConfigurationError: The table is wrong.
    """
    cls, owner = fetcher_class(table, place)
    arguments = read({"name": place.table, **table}, own_keys(cls), place, owner)
    given = arguments.pop("storage", None)
    policy = _policy(arguments.pop("policy", {}), place.below("policy"))
    storage = None if given is None else _storage(given, place.below("storage"), look_up=look_up)
    background = arguments.pop("background", True)
    for key in ("grant", "source"):
        arguments.pop(key, None)
    return Parts(
        place=str(place),
        source=prefixed(place, lambda: cls(**arguments)),
        storage=storage,
        policy=policy,
        background=background,
        references=tuple(references_in(arguments)),
    )


def fetcher_class(table: Mapping[str, Any], place: Location) -> tuple[type[TokenFetcher], str]:
    """Return the class that *table* asks for, and what to call that choice.

    Raises:
        ConfigurationError: There is no such class, or the table asks for two.
    """
    if "grant" in table and "source" in table:
        raise ConfigurationError(f"{place.label('grant')} and {place.label('source')} exclude each other")
    key, choices = ("source", _SOURCES) if "source" in table else ("grant", _GRANTS)
    chosen = _chosen(table.get(key, "client_credentials"), choices, place.label(key))
    return choices[chosen], f"{key} = '{chosen}'"


def _chosen(value: Any, choices: Mapping[str, Any], label: str) -> str:
    chosen: str = TEXT.value(value, label)
    if chosen not in choices:
        known = ", ".join(choices)
        raise ConfigurationError(f"{label} must be one of {known}; the nearest is '{nearest(chosen, choices)}'")
    return chosen


def own_keys(cls: type[TokenFetcher]) -> dict[str, Key]:
    """Return what the table of a manager may hold whose source is a *cls*."""
    of_manager = {"grant": TEXT, "source": TEXT, "background": FLAG, "storage": TABLE, "policy": TABLE}
    return {**keys_of(cls, without=_NOT_CONFIGURED), **of_manager}


def _policy(raw: Mapping[str, Any], place: Location) -> RefreshPolicy:
    arguments = read(raw, keys_of(RefreshPolicy), place, "the policy")
    policy: RefreshPolicy = prefixed(place, lambda: RefreshPolicy(**arguments))
    return policy


def _storage(raw: Mapping[str, Any], place: Location, *, look_up: bool) -> TokenStorage | None:
    cls, owner = storage_class(raw, place)
    arguments = read(raw, storage_keys(cls), place, owner)
    if not look_up and any(references_in(arguments)):
        return None
    arguments = _looked_up(arguments, place)
    del arguments["type"]
    keys = arguments.pop("encryption_keys", None)
    storage: TokenStorage = prefixed(place, lambda: cls(**arguments))
    if keys is None:
        return storage
    encrypted: TokenStorage = prefixed(place, lambda: _imported("EncryptedTokenStorage")(storage, keys))
    return encrypted


def storage_class(raw: Mapping[str, Any], place: Location) -> tuple[type[Any], str]:
    """Return the class that the table *raw* asks for, and what to call that choice.

    Raises:
        ConfigurationError: There is no such class, or its extra is not installed.
    """
    if "type" not in raw:
        raise ConfigurationError(f"{place.label('type')} is missing; it is one of {', '.join(_STORAGES)}")
    chosen = _chosen(raw["type"], _STORAGES, place.label("type"))
    return prefixed(place, lambda: _imported(_STORAGES[chosen])), f"type = '{chosen}'"


def storage_keys(cls: type[Any]) -> dict[str, Key]:
    """Return what the table of a storage may hold that is a *cls*."""
    renamed = {"url": _REDIS_URL} if cls.__name__ == _STORAGES["redis"] else {}
    return {**keys_of(cls, instead=renamed), "type": TEXT, "encryption_keys": SECRETS}


def _imported(name: str) -> Any:
    try:
        return getattr(storages, name)
    except ImportError as error:
        problem = str(error)  # it names the extra to install
    raise ConfigurationError(problem)


def _looked_up(arguments: Mapping[str, Any], place: Location) -> dict[str, Any]:
    try:
        return dict(resolved(arguments))
    except AuthenticationError as error:
        problem = error.message
    raise ConfigurationError(f"{place}: {problem}")
