"""What a configuration says, made into the parts of a manager: a source, a storage, a policy.

Nothing is fetched, and no secret is read that a fetcher could read itself later.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from typing import Any, final

from tokenkit import storage as storages
from tokenkit._secrecy.references import SecretReference, StepReference, references_in, resolved
from tokenkit.config._fetchers import GivenTokenFetcher, KeyedBodyFetcher, KeyedHeaderFetcher, KeyedHttpFetcher
from tokenkit.config._schema import (
    FLAG,
    SECRET,
    SECRETS,
    TABLE,
    TABLES,
    TEXT,
    Key,
    Location,
    keys_of,
    nearest,
    prefixed,
    read,
)
from tokenkit.contracts import TokenFetcher, TokenProvider, TokenStorage
from tokenkit.errors import AuthenticationError, ConfigurationError
from tokenkit.fetchers import (
    ChainedTokenFetcher,
    ClientCredentialsFetcher,
    CommandTokenFetcher,
    EnvTokenFetcher,
    FileTokenFetcher,
    JwtBearerFetcher,
    PasswordFetcher,
    RefreshTokenFetcher,
    SignedJwtFetcher,
    StoredTokenFetcher,
    TokenExchangeFetcher,
)
from tokenkit.fetchers.oauth2 import BrowserSignIn, DeviceSignIn, SignedInFetcher, SignInFlow
from tokenkit.pipeline import PipelineTokenProvider, TokenFetchPipeline
from tokenkit.policy import RefreshPolicy

__all__ = ["Parts", "own_keys", "parts_of", "storage_class", "storage_keys"]

_GRANTS: dict[str, type[TokenFetcher]] = {
    "client_credentials": ClientCredentialsFetcher,
    "password": PasswordFetcher,
    "refresh_token": RefreshTokenFetcher,
    "jwt_bearer": JwtBearerFetcher,
    "token_exchange": TokenExchangeFetcher,
    "authorization_code": BrowserSignIn,
    "device_code": DeviceSignIn,
}
_SOURCES: dict[str, type[TokenFetcher]] = {
    "body": KeyedBodyFetcher,
    "chained": ChainedTokenFetcher,
    "command": CommandTokenFetcher,
    "environment": EnvTokenFetcher,
    "file": FileTokenFetcher,
    "header": KeyedHeaderFetcher,
    "http": KeyedHttpFetcher,
    "signed_jwt": SignedJwtFetcher,
    "static": GivenTokenFetcher,
    "stored": StoredTokenFetcher,
}
_STORAGES = {
    "django": "DjangoCacheTokenStorage",
    "file": "FileTokenStorage",
    "keyring": "KeyringTokenStorage",
    "memory": "InMemoryTokenStorage",
    "redis": "RedisTokenStorage",
}
_REDIS_URL = replace(SECRET, required=True, argument="client_or_url")
_OF_MANAGER = {"background": FLAG, "storage": TABLE, "policy": TABLE}


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
    source: TokenFetcher | TokenProvider
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
    of_manager = {key: table[key] for key in _OF_MANAGER if key in table}
    settings = read(of_manager, _OF_MANAGER, place, "a manager")
    storage = None
    if "storage" in settings:
        storage = _storage(settings["storage"], place.below("storage"), look_up=look_up)
    own = {key: value for key, value in table.items() if key not in _OF_MANAGER}
    references: list[SecretReference | StepReference] = []
    policy = _policy(settings.get("policy", {}), place.below("policy"))
    source: TokenFetcher | TokenProvider
    if "steps" in own:
        source, storage = _pipeline(own, place, storage, references), None
    else:
        source = _fetcher(own, place, references, storage)
        storage = None if isinstance(source, StoredTokenFetcher) else storage  # which it reads, and nobody writes
    return Parts(
        place=str(place),
        source=source,
        storage=storage,
        policy=policy,
        background=settings.get("background", True),
        references=tuple(one for one in references if isinstance(one, SecretReference)),
    )


def _fetcher(
    table: Mapping[str, Any],
    place: Location,
    references: list[SecretReference | StepReference],
    storage: TokenStorage | None = None,
    *,
    is_step: bool = False,
) -> TokenFetcher:
    """Return the fetcher that *table* describes; what it refers to is added to *references*."""
    cls, owner = _fetcher_class(table, place)
    keys = source_keys(cls, is_step=is_step)
    arguments = read(table if "name" not in keys else {"name": place.table, **table}, keys, place, owner)
    for key in ("grant", "source"):
        arguments.pop(key, None)
    references += references_in(arguments)
    if cls is ChainedTokenFetcher:
        inner = arguments.pop("sources")
        fetchers = [
            _fetcher(one, place.below(f"sources.{n}"), references, is_step=is_step) for n, one in enumerate(inner)
        ]
        return _built(place, lambda: ChainedTokenFetcher(*fetchers, **arguments))
    if cls is StoredTokenFetcher:
        if storage is None:
            raise ConfigurationError(f"{place.label('storage')} is missing, which {owner} needs")
        arguments["storage"] = storage
    fetcher = _built(place, lambda: cls(**arguments))
    return SignedInFetcher(fetcher) if isinstance(fetcher, SignInFlow) else fetcher


def _built(place: Location, build: Callable[[], TokenFetcher]) -> TokenFetcher:
    fetcher: TokenFetcher = prefixed(place, build)
    return fetcher


def _pipeline(
    table: Mapping[str, Any],
    place: Location,
    storage: TokenStorage | None,
    references: list[SecretReference | StepReference],
) -> TokenProvider:
    """Return the provider of a pipeline whose steps *table* describes, each a table with a name."""
    arguments = read(table, _PIPELINE, place, "a pipeline")
    steps = []
    for number, one in enumerate(arguments["steps"]):
        below = place.below(f"steps.{number}")
        if "name" not in one:
            raise ConfigurationError(f"{below.label('name')} is missing: steps are named")
        steps.append(_fetcher(one, below, references, is_step=True))
    kept = storages.InMemoryTokenStorage() if storage is None else storage
    prefix = arguments.get("cache_key_prefix", "")
    pipeline: TokenFetchPipeline = prefixed(place, lambda: TokenFetchPipeline(steps, kept, prefix))
    name, start = arguments.get("name", place.table), arguments.get("refresh_from_step")
    provider: TokenProvider = prefixed(place, lambda: PipelineTokenProvider(pipeline, name, refresh_from_step=start))
    return provider


_PIPELINE = {"steps": replace(TABLES, required=True), "name": TEXT, "cache_key_prefix": TEXT, "refresh_from_step": TEXT}


def _fetcher_class(table: Mapping[str, Any], place: Location) -> tuple[type[TokenFetcher], str]:
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
        raise ConfigurationError(f"{label} must be one of {known}{nearest(chosen, choices)}")
    return chosen


def own_keys(table: Mapping[str, Any], place: Location) -> tuple[dict[str, Key], tuple[str, ...]]:
    """Return what *table*, of a manager, may hold, and which of it is secret.

    Raises:
        ConfigurationError: It asks for a source that there is not, or for two.
    """
    if "steps" in table:
        return {**_PIPELINE, **_OF_MANAGER}, ()
    cls = _fetcher_class(table, place)[0]
    return {**source_keys(cls), **_OF_MANAGER}, getattr(cls, "secret_arguments", ())


def source_keys(cls: type[TokenFetcher], *, is_step: bool = False) -> dict[str, Key]:
    """Return what the table of a source may hold that is a *cls*; one that is no step depends on none."""
    choice = {"grant": TEXT, "source": TEXT}
    if cls is ChainedTokenFetcher:
        return {**choice, "name": TEXT, "sources": replace(TABLES, required=True)}
    keys = {**keys_of(cls, without=("session",)), **choice}  # a session is an object of the program's
    return keys if is_step else {name: key for name, key in keys.items() if name != "depends_on"}


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
