import copy
import functools
import logging
from collections.abc import Callable, Mapping
from contextlib import AbstractContextManager, nullcontext
from typing import Any

import pytest

from tokenkit.contracts import FetchContext, TokenFetcher, TokenProvider, TokenStorage, takes_context
from tokenkit.tokens import Token

TOKEN = Token("s3cr3t")


def test_context_is_a_mapping() -> None:
    """A context gives the tokens of earlier steps by name, as any mapping does."""
    context = FetchContext({"app": TOKEN}, timeout=2.5)
    assert isinstance(context, Mapping)
    assert TOKEN is context["app"]
    assert ("app" in context, "user" in context, context.get("user")) == (True, False, None)
    assert (["app"], 1, 2.5) == (list(context), len(context), context.timeout)
    assert {"app": TOKEN} == context == copy.copy(context)
    with pytest.raises(KeyError, match="user"):
        context["user"]


def test_context_is_read_only() -> None:
    """A context cannot be changed, and a later change of what it was made from does not reach it."""
    tokens = {"app": TOKEN}
    context = FetchContext(tokens)
    tokens.clear()
    with pytest.raises(TypeError):
        context["user"] = TOKEN
    for name in ("timeout", "brand_new"):
        with pytest.raises(AttributeError):
            setattr(context, name, 1.0)
    assert {"app": TOKEN} == context


def test_empty_context() -> None:
    """A context of nothing is empty, false and without a limit."""
    assert not FetchContext()
    assert FetchContext().timeout is None
    assert "<FetchContext empty>" == repr(FetchContext())


def test_context_shows_names_alone() -> None:
    """A context shows the names of its steps and not their tokens."""
    assert "<FetchContext app, user>" == repr(FetchContext({"app": TOKEN, "user": TOKEN}))


class _Fetcher(TokenFetcher):
    name = "app"

    def fetch(self, context: FetchContext | None = None) -> Token:
        return Token("t0ken") if context is None else context["device"]


class _Provider(TokenProvider):
    service_name = "billing"

    def fetch_token(self, context: FetchContext | None = None) -> Token:
        return Token("t0ken") if context is None else context["device"]


class _Storage(TokenStorage):
    """The least that a user must define."""

    def __init__(self) -> None:
        self.tokens: dict[str, Token] = {}

    def get(self, key: str) -> Token | None:
        return self.tokens.get(key)

    def set(self, key: str, token: Token) -> None:
        self.tokens[key] = token

    def delete(self, key: str) -> None:
        self.tokens.pop(key, None)

    def clear(self) -> None:
        self.tokens.clear()

    def delete_if_equal(self, key: str, token: Token) -> bool:
        return self.tokens.get(key) == token and self.tokens.pop(key, None) is not None

    def replace(self, key: str, expected: Token | None, token: Token) -> bool:
        return self.tokens.get(key) == expected and self.tokens.update({key: token}) is None

    def lock(self, key: str, timeout: float) -> AbstractContextManager[None]:
        return nullcontext()


def test_fetcher_defaults() -> None:
    """A fetcher needs a name and fetch(): it depends on nothing, believes answers, and refreshes by fetching."""
    fetcher, context = _Fetcher(), FetchContext({"device": TOKEN})
    assert ((), None, "app") == (fetcher.depends_on, fetcher.ttl, fetcher.cache_key)
    assert Token("t0ken") == fetcher.refresh(TOKEN)
    assert TOKEN is fetcher.refresh(Token("old"), context)
    assert fetcher.close() is None


def test_fetch_error_is_logged_by_its_type(caplog: pytest.LogCaptureFixture) -> None:
    """By default a fetcher logs the type of its failure and nothing of its text."""
    caplog.set_level(logging.DEBUG)
    _Fetcher().on_fetch_error(ValueError("s3cr3t"), FetchContext({"device": TOKEN}))
    assert [("tokenkit", logging.DEBUG, "fetcher app failed: ValueError")] == caplog.record_tuples


def test_provider_defaults() -> None:
    """A provider needs a service name, which is its key, and fetch_token(), which also serves to refresh."""
    provider = _Provider()
    assert "billing" == provider.cache_key
    assert Token("t0ken") == provider.refresh_token(TOKEN)
    assert TOKEN is provider.refresh_token(Token("old"), FetchContext({"device": TOKEN}))
    assert provider.close() is None


def test_a_provider_without_a_context_refreshes_without_one() -> None:
    """Where fetch_token() takes no context, the default of refresh_token() gives it none."""

    class Plain(TokenProvider):
        service_name = "billing"

        def fetch_token(self) -> Token:
            return TOKEN

    assert TOKEN is Plain().refresh_token(Token("old"), FetchContext({"device": TOKEN}))


def test_storage_defaults() -> None:
    """A storage knows what exists from what it gets, and has nothing to close unless it says so."""
    storage = _Storage()
    assert not storage.exists("a")
    storage.set("a", TOKEN)
    assert storage.exists("a")
    assert storage.close() is None


@pytest.mark.parametrize("contract", [TokenFetcher, TokenProvider, TokenStorage])
def test_contracts_are_abstract(contract: type[Any]) -> None:
    """A contract alone is not an object."""
    with pytest.raises(TypeError, match="abstract"):
        contract()


class _Callable:
    def __call__(self, context: FetchContext) -> Token:
        return TOKEN

    def bare(self) -> Token:
        return TOKEN

    @staticmethod
    def static(context: Any) -> Token:
        return TOKEN

    @classmethod
    def of_class(cls, context: Any = None) -> Token:
        return TOKEN


def _plain() -> Token:
    return TOKEN


def _with_context(context: FetchContext | None = None) -> Token:
    return TOKEN


def _after_client(client: str, context: Any = None) -> Token:
    return TOKEN


@functools.wraps(_plain)
def _wrapped(*args: Any, **kwargs: Any) -> Token:
    return _plain(*args, **kwargs)


def _keyword_only(*, context: Any = None) -> Token:
    return TOKEN


CALLABLES: dict[str, tuple[Callable[..., Any], bool]] = {
    "function": (_with_context, True),
    "function without": (_plain, False),
    "required, of any name": (lambda earlier: TOKEN, True),
    "positional-only": (lambda earlier, /: TOKEN, True),
    "positional-only without": (lambda retries=3, /: TOKEN, False),
    "lambda without": (lambda: TOKEN, False),
    "optional of another name": (lambda scope="read": TOKEN, False),
    "any arguments": (lambda *args: TOKEN, True),
    "any arguments after an optional one": (lambda scope="read", *args: TOKEN, False),
    "any keywords": (lambda **kwargs: TOKEN, False),
    "keyword-only": (_keyword_only, False),
    "bound method": (_Fetcher().fetch, True),
    "method without": (_Callable().bare, False),
    "static method": (_Callable.static, True),
    "class method": (_Callable.of_class, True),
    "object with __call__": (_Callable(), True),
    "class without arguments": (_Storage, False),
    "partial that leaves the context": (functools.partial(_after_client, "c"), True),
    "partial that gives it": (functools.partial(_with_context, None), False),
    "partial that gives it by name": (functools.partial(_with_context, context=None), False),
    "decorated": (_wrapped, False),
    "builtin": (len, True),
    "builtin without a signature": (iter, False),
    "no callable": ("text", False),
}


@pytest.mark.parametrize(("function", "takes"), CALLABLES.values(), ids=CALLABLES)
def test_takes_context(function: Callable[..., Any], takes: bool) -> None:
    """A callable takes the context where its place is required or named so, or where it takes any arguments."""
    assert takes is takes_context(function)


def test_takes_context_after_others() -> None:
    """The place that counts is the one after the arguments that are passed anyhow."""
    assert takes_context(_Provider().refresh_token, positional=1)
    assert takes_context(lambda current, context: TOKEN, positional=1)
    assert takes_context(lambda *args: TOKEN, positional=1)
    assert not takes_context(lambda current: TOKEN, positional=1)
    assert not takes_context(lambda current, force=False: TOKEN, positional=1)
