"""The pytest plugin, which the installed package brings along."""

import requests

from tokenkit import ClientCredentialsFetcher, TokenManager
from tokenkit.testing import FakeClock, LocalIdP


def test_local_idp_is_running(local_idp):
    """The fixture is a provider that answers."""
    assert isinstance(local_idp, LocalIdP)
    assert 200 == requests.get(local_idp.metadata_url, timeout=10).status_code


def test_fake_clock_is_a_clock_of_the_tests_own(fake_clock):
    """The fixture is a clock that nothing has moved yet."""
    assert isinstance(fake_clock, FakeClock)
    assert FakeClock().monotonic() == fake_clock.monotonic()


def test_both_go_together(local_idp, fake_clock):
    """A token lives by the manager's clock, whatever dates it: it is renewed as time is moved on, again and again."""
    fetcher = ClientCredentialsFetcher(token_url=local_idp.token_url, client_id="client", client_secret="secret")
    with TokenManager(fetcher, clock=fake_clock, background=False) as manager:
        for calls in range(1, 5):
            token = manager.get_token()
            assert (calls, 3600) == (local_idp.count("token"), token.expires_in(fake_clock.now()))
            fake_clock.advance(3500)
            assert token is manager.get_token()
            fake_clock.advance(100)


def test_static_token_needs_no_network(static_token):
    """The fixture is a manager whose token is always the same."""
    assert "static-token" == static_token.access_token()
