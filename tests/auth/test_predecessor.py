"""Resources that learn of a token a moment after its issue: the one before it, still good, serves meanwhile."""

from collections.abc import Callable, Iterator

import pytest
import requests
from support.protected import Reply, Resource, Seen, resource
from support.scripted import Harness, ScriptedSource, managed, outcomes

from tokenkit.auth import BearerAuth
from tokenkit.options import FetchOptions
from tokenkit.storage import InMemoryTokenStorage

FIRST, SECOND, THIRD = "Bearer token-1", "Bearer token-2", "Bearer token-3"


@pytest.fixture
def renewed() -> Iterator[Harness]:
    """A manager that has replaced its first token ahead of expiry."""
    with managed() as one:
        one.manager.get_token()
        one.clock.advance(0.8 * 3600)
        one.manager.get_token()
        one.landed(2)
        yield one


@pytest.fixture
def api() -> Iterator[Resource]:
    with resource() as server:
        yield server


def takes(*good: str, error: str = "invalid_token") -> Callable[[Seen], Reply]:
    """Return the behaviour of a resource that takes these tokens only."""
    refusal = Reply(401, {"WWW-Authenticate": f'Bearer error="{error}"'})
    return lambda seen: Reply() if seen.token in good else refusal


def get(one: Harness, api: Resource, **options: int) -> int:
    return requests.get(api.url, auth=BearerAuth(one.manager, **options), timeout=10).status_code


def test_a_resource_that_lags_costs_no_failed_request(renewed: Harness, api: Resource) -> None:
    """It gets the token before, nothing is fetched for it, and the newer one goes on."""
    api.behave = takes(FIRST)
    assert (200, [SECOND, FIRST]) == (get(renewed, api), api.tokens)
    assert (2, "token-2") == (renewed.source.fetches, renewed.manager.get_token().access_token)


def test_a_predecessor_that_is_refused_too_is_dropped(renewed: Harness, api: Resource) -> None:
    """It is sent once, and the newer one counts as rejected, by the ordinary rules."""
    renewed.clock.advance(2)
    api.behave = takes(THIRD)
    assert (200, [SECOND, FIRST, THIRD]) == (get(renewed, api), api.tokens)


def test_it_is_one_of_the_attempts(renewed: Harness, api: Resource) -> None:
    """Where there is but one the caller gets the second 401, and the newer token is given up."""
    renewed.clock.advance(2)
    api.behave = takes()
    assert (401, [SECOND, FIRST]) == (get(renewed, api, max_refresh_attempts=1), api.tokens)
    assert renewed.manager.current is None or "token-3" == renewed.manager.current.access_token


def test_a_resource_that_took_the_newer_one_is_believed(renewed: Harness, api: Resource) -> None:
    """It knows that token, so it has been revoked."""
    auth = BearerAuth(renewed.manager)
    with requests.Session() as session:
        session.auth = auth
        api.behave = takes(SECOND)
        assert 200 == session.get(api.url).status_code
        api.behave = takes(THIRD)
        assert 200 == session.get(api.url).status_code
    assert [SECOND, SECOND, THIRD] == api.tokens


@pytest.mark.parametrize("error", ["insufficient_claims", "insufficient_user_authentication"])
def test_one_that_is_refused_for_what_it_lacks_is_not_helped(renewed: Harness, api: Resource, error: str) -> None:
    """The token before lacks it, too."""
    renewed.clock.advance(2)
    api.behave = takes(FIRST, THIRD, error=error)
    assert (200, [SECOND, THIRD]) == (get(renewed, api), api.tokens)


def test_after_ten_seconds_every_resource_knows_the_newer_one(renewed: Harness, api: Resource) -> None:
    """Its rejection counts."""
    renewed.clock.advance(10.5)
    api.behave = takes(FIRST, THIRD)
    assert (200, [SECOND, THIRD]) == (get(renewed, api), api.tokens)


@pytest.mark.parametrize(
    "end",
    [
        lambda one: one.manager.invalidate_token(),
        lambda one: one.manager.force_refresh(),
        lambda one: one.manager.invalidate_token(one.source.token(1)),
        lambda one: one.manager.renew_rejected(one.source.token(2), was_accepted=True),
        lambda one: one.manager._engine.take(one.source.token(9)),
    ],
    ids=["invalidated", "forced", "revoked", "rejected", "signed in"],
)
def test_what_was_given_up_never_comes_back(renewed: Harness, end: Callable[[Harness], object]) -> None:
    """Neither of the two tokens is anybody's predecessor any more."""
    assert "token-1" == renewed.manager.predecessor_of(renewed.source.token(2)).access_token
    end(renewed)
    held = renewed.manager.get_token()
    assert [None, None] == [renewed.manager.predecessor_of(one) for one in (held, renewed.source.token(2))]


def test_one_that_is_forced_out_while_its_renewal_is_under_way_is_not_kept() -> None:
    """Whoever wants another token joins that renewal, which was one ahead of expiry."""
    with managed() as one:
        one.manager.get_token()
        gate = one.source.hang()
        one.clock.advance(0.8 * 3600)
        one.manager.get_token()
        assert gate.reached()
        ask_anew = one.ask(options=FetchOptions(renew_required=True))
        one.ears.wait_for("cache_miss", 2)
        gate.release()
        assert ["token-2"] == [token.access_token for token in outcomes(ask_anew)]
        one.landed(2)
        assert None is one.manager.predecessor_of(one.source.token(2))


@pytest.mark.parametrize(("grant_key", "kept"), [(None, "token-1"), ("a person's", None)])
def test_of_two_people_none_is_served_with_the_other_ones_token(
    grant_key: str | None, kept: str | None, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What was found in the storage may be of somebody who has signed in elsewhere."""
    monkeypatch.setattr(ScriptedSource, "grant_key", grant_key)
    storage = InMemoryTokenStorage()
    with managed(storage=storage) as one:
        one.manager.get_token()
        one.advance(100)
        storage.set(one.source.cache_key, one.source.token(7))
        one.advance(250)
        assert "token-7" == one.manager.current.access_token
        older = one.manager.predecessor_of(one.manager.current)
        assert kept == (None if older is None else older.access_token)
