"""The steps of a pipeline: their order, in which each stands after those it depends on, and their keys in a storage."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Iterator, Mapping, Sequence

from tokenkit._secrecy.identity import escaped
from tokenkit.contracts import TokenFetcher
from tokenkit.errors import ConfigurationError

__all__ = ["digest", "in_order", "keys_of", "upstream_of", "with_dependents"]


def in_order(steps: Sequence[TokenFetcher]) -> Mapping[str, TokenFetcher]:
    """Return *steps* by name, having checked that each stands after those it depends on."""
    if not steps:
        raise ConfigurationError("a pipeline needs at least one step")
    names = [_name(step) for step in steps]
    for name in names:
        if names.count(name) > 1:
            raise ConfigurationError(f"two steps are called {name!r}")
    by_name = dict(zip(names, steps, strict=True))
    for name, step in by_name.items():
        for dependency in step.depends_on:
            if dependency not in by_name:
                known = ", ".join(names)
                raise ConfigurationError(f"step {name!r} depends on {dependency!r}, which is not among {known}")
    seen: set[str] = set()
    for name, step in by_name.items():
        for dependency in step.depends_on:
            if dependency not in seen:
                _refuse_order(name, dependency, by_name)
        seen.add(name)
    return by_name


def keys_of(by_name: Mapping[str, TokenFetcher], prefix: str) -> dict[str, str]:
    """Return under which key each step's token is cached, by the step's name: prefix:key, or the key alone.

    Prefixes and names are escaped, so that "a" with "b:c" is not "a:b" with "c". A key that says more than a name ends
    in a digest, and is the same in every pipeline.

    A token belongs to the user whose tokens it was bought with. So where the key of a step upstream says more than its
    name, a digest of the keys upstream is added: two users' steps that differ by that alone never share an entry.
    """
    own = {name: step.cache_key for name, step in by_name.items()}
    return {name: ":".join(_key_parts(name, by_name, own, prefix)) for name in by_name}


def digest(parts: Iterable[str]) -> str:
    """Return what no other sequence of strings has."""
    return hashlib.sha256("".join(f"{len(part)}:{part}" for part in parts).encode()).hexdigest()


def _key_parts(name: str, by_name: Mapping[str, TokenFetcher], own: Mapping[str, str], prefix: str) -> Iterator[str]:
    if prefix:
        yield escaped(prefix)
    yield escaped(name) if own[name] == name else own[name]
    upstream = sorted(upstream_of(name, by_name))
    if any(own[one] != one for one in upstream):
        yield digest(part for one in upstream for part in (one, own[one]))[:40]


def upstream_of(name: str, by_name: Mapping[str, TokenFetcher]) -> set[str]:
    """Return the names of all steps that step *name* depends on, itself or through others."""
    found: set[str] = set()
    unseen = [name]
    while unseen:
        for one in by_name[unseen.pop()].depends_on:
            if one not in found:
                found.add(one)
                unseen.append(one)
    return found


def with_dependents(names: Iterable[str], by_name: Mapping[str, TokenFetcher]) -> tuple[str, ...]:
    """Return *names* and all steps that depend on one of them, itself or through others, in order."""
    found = set(names)
    for step in by_name.values():  # in order, so that one pass finds what depends on what depends on it
        if found.intersection(step.depends_on):
            found.add(step.name)
    return tuple(name for name in by_name if name in found)


def _name(step: TokenFetcher) -> str:
    name = getattr(step, "name", None)
    if not isinstance(step, TokenFetcher) or not isinstance(name, str) or not name:
        raise ConfigurationError(f"a step must be a TokenFetcher with a name, not {type(step).__name__}")
    if isinstance(step.depends_on, str) or not isinstance(step.depends_on, Iterable):
        kind = type(step.depends_on).__name__
        raise ConfigurationError(f"depends_on of step {name!r} must be a sequence of names, not {kind}")
    return name


def _refuse_order(name: str, dependency: str, by_name: Mapping[str, TokenFetcher]) -> None:
    """Tell a circle, which no order mends, from a step that merely stands too late."""
    upstream = upstream_of(name, by_name)
    if name in upstream:
        circle = ", ".join(one for one in by_name if one in upstream and name in upstream_of(one, by_name))
        raise ConfigurationError(f"steps depend on each other in a circle: {circle}")
    raise ConfigurationError(f"step {name!r} depends on {dependency!r}, which must stand before it")
