"""The pytest plugin, which the installed package brings along."""

import requests

from tokenkit.testing import FakeClock, LocalIdP


def test_local_idp_is_running(local_idp):
    """The fixture is a provider that answers."""
    assert isinstance(local_idp, LocalIdP)
    assert 200 == requests.get(local_idp.metadata_url, timeout=10).status_code


def test_fake_clock_is_a_clock_of_the_tests_own(fake_clock):
    """The fixture is a clock that nothing has moved yet."""
    assert isinstance(fake_clock, FakeClock)
    assert FakeClock().time() == fake_clock.time()
