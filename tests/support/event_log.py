"""A manager's life that makes listeners hear all eight events."""

from contextlib import suppress

from tokenkit import AuthenticationError, ClientCredentialsFetcher, TokenListener, TokenManager
from tokenkit.storage import InMemoryTokenStorage
from tokenkit.testing import LocalIdP

SERVICE = "billing"
SECRET = "open-sesame"


def live(idp: LocalIdP, listener: TokenListener) -> list[str]:
    """Fetch, use, give up and renew a token, twice as it goes well, once as it does not; return the tokens' values."""
    idp.add_client("client", SECRET)
    fetcher = ClientCredentialsFetcher(
        token_url=idp.token_url, client_id="client", client_secret=SECRET, name=SERVICE, retries=0
    )
    with TokenManager(fetcher, InMemoryTokenStorage(), listeners=[listener]) as manager:
        first = manager.get_token()
        assert first is manager.get_token()
        manager.invalidate_token(first)
        idp.fail("token", body={"error": "invalid_client", "error_description": SECRET}, status=401)
        with suppress(AuthenticationError):
            manager.get_token()
        return [first.access_token, manager.force_refresh().access_token]
