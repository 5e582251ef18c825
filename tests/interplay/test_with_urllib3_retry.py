"""With urllib3's Retry below: it repeats a request as it is; only we replace a token."""

import requests
from requests.adapters import HTTPAdapter
from support.protected import Issuer, Reply, Resource, Seen, managed, resource
from urllib3.util import Retry

from tokenkit.auth import BearerAuth


def serve(api: Resource, statuses: list[int]) -> None:
    """Let *api* answer these statuses first, then what the token deserves."""

    def behave(seen: Seen) -> Reply:
        return Reply(statuses.pop(0)) if statuses else api.protect(seen)

    api.behave = behave


def test_a_token_that_died_during_the_retries_is_replaced() -> None:
    """The same header goes out on each retry; the 401 that ends them is made good, and retried in its turn."""
    mint = Issuer()
    with resource(mint) as api, managed(mint) as manager, requests.Session() as session:
        session.mount("http://", HTTPAdapter(max_retries=Retry(5, status_forcelist=[503])))
        session.auth = BearerAuth(manager)
        manager.get_token()
        mint.revoke()
        serve(api, [503, 503])
        assert 200 == session.get(api.url).status_code
    assert ["Bearer token-1"] * 3 + ["Bearer token-2"] == api.tokens


def test_a_retry_of_401_below_us_is_the_users_choice() -> None:
    """urllib3 then uses its tries up with the same token, and raises what it raises."""
    mint = Issuer()
    with resource(mint) as api, managed(mint) as manager, requests.Session() as session:
        policy = Retry(2, status_forcelist=[401], raise_on_status=False)
        session.mount("http://", HTTPAdapter(max_retries=policy))
        session.auth = BearerAuth(manager)
        manager.get_token()
        mint.revoke()
        assert 200 == session.get(api.url).status_code
    assert ["Bearer token-1"] * 3 + ["Bearer token-2"] == api.tokens
