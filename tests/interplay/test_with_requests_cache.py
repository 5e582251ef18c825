"""With requests-cache: what it serves costs no token, and it never keeps a rejection."""

import threading
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from typing import Any

import pytest
from support import needs
from support.protected import Issuer, Reply, Resource, Seen, managed

from tokenkit.auth import AuthorizedSession, BearerAuth
from tokenkit.errors import AuthenticationError
from tokenkit.manager import TokenManager

requests_cache = needs.module("requests_cache")

Open = Callable[..., Any]


class CachedAuthorizedSession(requests_cache.CacheMixin, AuthorizedSession):  # type: ignore[misc,name-defined]
    """As docs/howto/requests.rst has it: the cache first, and what it does not know is authorised."""


def plain_with_auth(manager: TokenManager, **options: Any) -> Any:
    session = requests_cache.CachedSession(**options)
    session.auth = BearerAuth(manager)
    return session


def authorized(manager: TokenManager, **options: Any) -> Any:
    return CachedAuthorizedSession(manager=manager, **options)


@pytest.fixture
def opened() -> Iterator[Open]:
    """Opens a session of a kind, with a manager of its own and options, over a cache that may be another's."""
    with ExitStack() as stack:

        def opened(kind: Open, mint: Issuer, **options: Any) -> Any:
            manager = stack.enter_context(managed(mint))
            return stack.enter_context(kind(manager, **{"backend": "memory", **options}))

        yield opened


either = pytest.mark.parametrize("kind", [plain_with_auth, authorized])


@either
def test_a_cached_answer_costs_no_token(opened: Open, kind: Open, api: Resource, mint: Issuer) -> None:
    """It is served without a request, without a call for a token, and although the token was revoked."""
    session = opened(kind, mint)
    session.get(api.url)
    mint.revoke()
    mint.failing = True
    assert session.get(api.url).from_cache
    assert (1, 1) == (len(api.seen), mint.given)


def test_a_cached_answer_needs_no_token(opened: Open, api: Resource, mint: Issuer) -> None:
    """Where none is held and none can be had, it is served; what is not cached fails."""
    first = opened(authorized, mint)
    first.get(api.url)
    closed = Issuer()
    closed.failing = True
    session = opened(authorized, closed, backend=first.cache)
    assert session.get(api.url).from_cache
    with pytest.raises(AuthenticationError, match="the mint is closed"):
        session.get(f"{api.url}/other")
    assert (1, 0) == (len(api.seen), closed.given)


def test_what_is_not_cached_gets_a_token(opened: Open, api: Resource, mint: Issuer) -> None:
    """As late as when it is sent, whether a prepared request or not."""
    session = opened(authorized, mint)
    assert not session.get(api.url).from_cache
    mint.revoke()
    assert 200 == session.get(f"{api.url}/other").status_code
    assert ["Bearer token-1", "Bearer token-1", "Bearer token-2"] == api.tokens


def test_a_plain_session_asks_before_it_looks(opened: Open, api: Resource, mint: Issuer) -> None:
    """Requests calls an auth when it prepares; so there a token is needed, whatever is cached."""
    first = opened(plain_with_auth, mint)
    first.get(api.url)
    second = Issuer()
    assert opened(plain_with_auth, second, backend=first.cache).get(api.url).from_cache
    assert (1, 1) == (len(api.seen), second.given)


@either
def test_an_answer_that_varies_by_credential_is_not_shared(opened: Open, kind: Open, api: Resource) -> None:
    """Not with who has no token yet, and not with who has none at all: what stands in for one is seen by the cache."""
    api.behave = lambda seen: Reply(200, {"Vary": "Authorization"}, str(seen.token).encode())
    with requests_cache.CachedSession(backend="memory") as anonymous:
        assert "None" == anonymous.get(api.url).text
        session = opened(kind, Issuer(), backend=anonymous.cache)
        for _ in range(2):
            assert "Bearer token-1" == session.get(api.url).text
        assert "None" == anonymous.get(api.url).text


@pytest.mark.parametrize("header", ["Authorization", "X-Token"])
@either
def test_users_that_are_told_apart_stay_apart(opened: Open, kind: Open, api: Resource, header: str) -> None:
    """By match_headers; also those that have no token yet."""
    api.behave = lambda seen: Reply(body=str(seen.headers[header.lower()]).encode())
    options: dict[str, Any] = {"match_headers": [header], "ignored_parameters": []}
    first = opened(kind, Issuer(), **options)
    second = opened(kind, Issuer(), **options, backend=first.cache)
    second.auth.manager.force_refresh()
    second.auth.manager.invalidate_token()
    for session in (first, second):
        session.auth = BearerAuth(session.auth.manager, header=header)
    assert ["Bearer token-1", "Bearer token-2"] == [session.get(api.url).text for session in (first, second)]


class Keeping:
    """Keeps credentials on redirects, as some libraries' sessions do."""

    def rebuild_auth(self, *_: object) -> None:
        pass


class KeepingCached(Keeping, requests_cache.CachedSession):  # type: ignore[misc,name-defined]
    pass


class KeepingCachedAuthorized(Keeping, CachedAuthorizedSession):
    pass


def keeping(manager: TokenManager, **options: Any) -> Any:
    session = KeepingCached(**options)
    session.auth = BearerAuth(manager)
    return session


def keeping_authorized(manager: TokenManager, **options: Any) -> Any:
    return KeepingCachedAuthorized(manager=manager, **options)


@pytest.mark.parametrize("header", ["Authorization", "X-Token"])
@pytest.mark.parametrize("kind", [plain_with_auth, authorized, keeping, keeping_authorized])
def test_a_cached_redirect_takes_no_token_to_another_host(opened: Open, kind: Open, api: Resource, header: str) -> None:
    """The record of an earlier request is all that its answer has; the next request is made from another one.

    Whether the session's class takes credentials off nobody knows there.
    """
    targets = {"/a": "/b", "/b": f"{api.elsewhere}/c"}
    api.behave = lambda seen: Reply(302, {"Location": targets[seen.path]}) if seen.path in targets else Reply()
    session = opened(kind, Issuer(), allowable_codes=(200, 302))
    session.auth = BearerAuth(session.auth.manager, header=header)
    for _ in range(2):
        session.get(f"{api.url}/a")
        session.cache.delete(urls=[f"{api.url}/a", f"{api.elsewhere}/c"])
    there = [seen for seen in api.seen if seen.host == "localhost"]
    assert [None] * len(there) == [seen.headers.get(header.lower()) for seen in there]
    assert ["/a", "/b", "/c", "/a"] == [seen.path for seen in api.seen][:4]


@either
def test_a_cached_redirect_leads_where_requests_goes(opened: Open, kind: Open, api: Resource) -> None:
    """To some releases of Python, four slashes begin another host."""
    target = f"////localhost:{api.port}/b"
    api.behave = lambda seen: Reply(302, {"Location": target}) if seen.path == "/a" else Reply()
    session = opened(kind, Issuer(), allowable_codes=(200, 302))
    session.auth = BearerAuth(session.auth.manager, header="X-Token")
    for _ in range(2):
        session.get(f"{api.url}/a")
        session.cache.delete(urls=[f"{api.elsewhere}/b"])
    assert not [seen for seen in api.seen if seen.host == "localhost" and "x-token" in seen.headers]


def test_a_stale_answer_is_renewed_behind_the_caller(opened: Open, api: Resource, mint: Issuer) -> None:
    """stale_while_revalidate sends on a thread of its own, which waits for the token."""
    renewed = threading.Event()

    def behave(seen: Seen) -> Reply:
        if len(api.seen) > 1:
            renewed.set()
        return api.protect(seen)

    api.behave = behave
    session = opened(authorized, mint, expire_after=0.05, stale_while_revalidate=True)
    session.get(api.url)
    session.auth.manager.invalidate_token()
    while not next(iter(session.cache.responses.values())).is_expired:
        renewed.wait(0.01)
    assert session.get(api.url).from_cache
    assert renewed.wait(10)
    assert ["Bearer token-1", "Bearer token-2"] == api.tokens


def test_a_stale_answer_does_where_no_token_can_be_had(opened: Open, api: Resource, mint: Issuer) -> None:
    """stale_if_error covers the identity provider's errors as it does the API's."""
    first = opened(authorized, mint, expire_after=requests_cache.EXPIRE_IMMEDIATELY)
    api.behave = lambda seen: Reply(200, {"ETag": '"1"'}, b"kept")
    first.get(api.url, expire_after=0.001)
    closed = Issuer()
    closed.failing = True
    session = opened(authorized, closed, backend=first.cache, stale_if_error=True)
    answer = session.get(api.url, refresh=True)
    assert (True, "kept") == (answer.from_cache, answer.text)


@either
def test_a_rejection_is_not_cached(opened: Open, kind: Open, api: Resource, mint: Issuer) -> None:
    """The answer to the second request is."""
    session = opened(kind, mint)
    session.auth.manager.get_token()
    mint.revoke()
    assert 200 == session.get(api.url).status_code
    assert [200] == [one.status_code for one in session.cache.filter()]
    assert session.get(api.url).from_cache


@either
def test_a_rejection_that_stays_is_asked_for_again(opened: Open, kind: Open, api: Resource, mint: Issuer) -> None:
    """A 401 that the caller got is no answer to the next request."""
    session = opened(kind, mint)
    api.behave = lambda seen: Reply(401)
    for _ in range(2):
        assert not getattr(session.get(api.url), "from_cache", False)
    assert 6 == len(api.seen)
