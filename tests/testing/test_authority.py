"""The rules of LocalIdP, without a socket."""

import threading
from concurrent.futures import ThreadPoolExecutor

import pytest

from tokenkit.testing._idp.authority import Authority, Client
from tokenkit.testing._idp.messages import Refusal, Reply
from tokenkit.testing.settings import Settings


@pytest.fixture
def authority(fake_clock):
    """An authority whose tokens live for an hour of the fake clock."""
    return Authority(fake_clock, Settings())


def issue(authority, kind="access", lifetime=3600):
    return authority.issue(kind, lifetime, subject="alice", client_id="client")


def test_no_repr_shows_a_secret(authority):
    """A client, a token and a reply print what they are, not what opens doors."""
    token = issue(authority)
    shown = repr([Client("client", "canary"), token, Reply.json({"access_token": "canary"})])
    assert "[<Client client>, <IssuedToken access for alice>, <Reply 200>]" == shown
    assert token.value not in shown


@pytest.mark.parametrize(("seconds", "reason"), [(3599, None), (3600, "expired")])
def test_a_token_is_good_until_its_deadline(authority, fake_clock, seconds, reason):
    """At its deadline, and not before, a token has expired; a step of the wall clock changes nothing."""
    token = issue(authority)
    fake_clock.step_wall(86400)
    fake_clock.advance(seconds)
    found = authority.find(token.value)
    assert reason == (None if found else authority.why_not(token.value))


def test_it_is_known_why_a_token_is_no_good(authority):
    """Revoked, spent and unknown are told apart."""
    revoked, spent = issue(authority), issue(authority, "refresh")
    authority.revoke(revoked.value)
    authority.spend(spent.value, "client")
    assert ["revoked", "spent", "unknown"] == [authority.why_not(v) for v in (revoked.value, spent.value, "x")]


def test_one_of_many_threads_spends_a_refresh_token(authority):
    """Of 16 threads that spend one refresh token at once, one succeeds and each other is noticed."""
    token, start = issue(authority, "refresh"), threading.Barrier(16)

    def spend(_):
        start.wait(10)
        try:
            return authority.spend(token.value, "client")
        except Refusal as refusal:
            return refusal.error

    with ThreadPoolExecutor(16) as pool:
        outcomes = list(pool.map(spend, range(16)))
    assert (1, 15, 15) == (outcomes.count(token), outcomes.count("invalid_grant"), authority.reuse_detected)


def test_a_number_is_shown_once(authority):
    """An identifier is fresh the first time only."""
    assert [True, False, True] == [authority.use_once(identifier) for identifier in ("a", "a", "b")]
