"""A refused password is sent rarely: servers lock accounts."""

from typing import Any

import pytest

from tokenkit import RefreshPolicy, TokenFetchPipeline, TokenManager
from tokenkit.contracts import FetchContext
from tokenkit.errors import TokenEndpointError
from tokenkit.fetchers import PasswordFetcher
from tokenkit.storage import InMemoryTokenStorage
from tokenkit.testing import FakeClock, LocalIdP


def user(idp: LocalIdP, **more: Any) -> PasswordFetcher:
    client = {"token_url": idp.token_url, "client_id": "client", "client_secret": "secret"}
    return PasswordFetcher(**{**client, "username": "alice", "password": "wrong", **more})


def manager_of(source: PasswordFetcher, clock: FakeClock, **policy: Any) -> TokenManager:
    return TokenManager(source, background=False, clock=clock, policy=RefreshPolicy(jitter=0, **policy))


def minutes_sent(idp: LocalIdP, source: PasswordFetcher, clock: FakeClock, *, limit: int, pause: float) -> list[int]:
    """Return the minutes in which the password was sent, where somebody wants a token in each."""
    sent = []
    for minute in range(limit):
        before = idp.count("token:password")
        with pytest.raises(TokenEndpointError):
            source.fetch(FetchContext(clock=clock, max_retry_timeout=pause))
        if idp.count("token:password") > before:
            sent.append(minute)
        clock.advance(60)
    return sent


def refused(source: TokenManager | TokenFetchPipeline, **how: Any) -> TokenEndpointError:
    ask = source.get_token if isinstance(source, TokenManager) else source.execute
    with pytest.raises(TokenEndpointError) as caught:
        ask(**how)
    return caught.value


def test_the_pauses_after_a_refusal_double_to_half_an_hour(local_idp: LocalIdP, fake_clock: FakeClock) -> None:
    """A loop that wants a token each minute sends a wrong password less and less often."""
    sent = minutes_sent(local_idp, user(local_idp), fake_clock, limit=95, pause=60)
    assert [0, 1, 3, 7, 15, 31, 61, 91] == sent


def test_the_policy_says_how_long_the_first_pause_is(local_idp: LocalIdP, fake_clock: FakeClock) -> None:
    """They begin with its max_retry_timeout, and one above half an hour stays."""
    assert [0, 5, 15] == minutes_sent(local_idp, user(local_idp), fake_clock, limit=20, pause=300)
    assert [0, 40, 80] == minutes_sent(local_idp, user(local_idp), fake_clock, limit=81, pause=2400)


def test_what_is_kept_back_is_told_as_the_refusal_that_it_was(local_idp: LocalIdP, fake_clock: FakeClock) -> None:
    """The caller hears the same code and status, and that nothing was sent."""
    source = user(local_idp)
    context = FetchContext(clock=fake_clock)
    with pytest.raises(TokenEndpointError):
        source.fetch(context)
    with pytest.raises(TokenEndpointError, match="not sent again for 60 s") as caught:
        source.fetch(context)
    error = caught.value
    assert (400, "invalid_grant", "password") == (error.status, error.error, error.grant_type)
    assert "wrong" not in str(error)


def test_a_password_that_has_changed_is_sent(local_idp: LocalIdP, fake_clock: FakeClock) -> None:
    """At the manager's next try, however long the pause of the old one is."""
    current = ["wrong"]
    with manager_of(user(local_idp, password=lambda: current[0]), fake_clock) as manager:
        for _ in range(8):  # the pause is 8 min by now
            refused(manager)
            fake_clock.advance(60)
        assert 4 == local_idp.count("token:password")
        current[0] = "wonderland"
        assert local_idp.is_active(manager.get_token())


def test_force_refresh_sends_it_at_once(local_idp: LocalIdP, fake_clock: FakeClock) -> None:
    """A person who has set the password right at the server says so, and need not wait."""
    with manager_of(user(local_idp), fake_clock) as manager:
        refused(manager)
        local_idp.add_user("alice", "wrong")
        assert local_idp.is_active(manager.force_refresh())


def test_a_password_is_sent_once_in_a_renewal(local_idp: LocalIdP, fake_clock: FakeClock) -> None:
    """A refresh token that was refused leads to one try with the password."""
    current = ["wonderland"]
    with manager_of(user(local_idp, password=lambda: current[0]), fake_clock) as manager:
        manager.get_token()
        current[0] = "wrong"
        local_idp.revoke_all()
        with pytest.raises(TokenEndpointError):
            manager.force_refresh()
    assert 2 == local_idp.count("token:password")


def test_a_bare_pipeline_keeps_it_back_too(local_idp: LocalIdP, fake_clock: FakeClock) -> None:
    """Twenty calls are one request; force_refresh=True is another."""
    pipeline = TokenFetchPipeline([user(local_idp)], InMemoryTokenStorage(), clock=fake_clock)
    for _ in range(20):
        refused(pipeline)
    assert 1 == local_idp.count("token:password")
    refused(pipeline, force_refresh=True)
    assert 2 == local_idp.count("token:password")


def test_force_refresh_reaches_a_step_of_a_pipeline(local_idp: LocalIdP, fake_clock: FakeClock) -> None:
    """A manager above a pipeline tells its steps that the user asked."""
    pipeline = TokenFetchPipeline([user(local_idp)], InMemoryTokenStorage(), clock=fake_clock)
    with TokenManager(pipeline, background=False, clock=fake_clock) as manager:
        refused(manager)
        with pytest.raises(TokenEndpointError):
            manager.force_refresh()
    assert 2 == local_idp.count("token:password")


def test_a_client_that_was_refused_says_nothing_of_the_password(local_idp: LocalIdP, fake_clock: FakeClock) -> None:
    """A wrong client secret is no reason to keep a password back: the server has not looked at it."""
    source = user(local_idp, client_secret="old")
    assert [0, 1, 2, 3] == minutes_sent(local_idp, source, fake_clock, limit=4, pause=60)


def test_a_clock_that_is_set_back_does_not_prolong_the_pause(local_idp: LocalIdP) -> None:
    """Where the refusal seems to lie in the future, nothing is known of the time since."""
    source, later, now = user(local_idp), FakeClock(), FakeClock()
    later.advance(3600)
    for clock in (later, now):
        with pytest.raises(TokenEndpointError):
            source.fetch(FetchContext(clock=clock))
    assert 2 == local_idp.count("token:password")
