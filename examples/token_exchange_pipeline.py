"""A service calls a backend for a user: the user's token buys one for the backend."""

import requests

from tokenkit import BearerAuth, PipelineTokenProvider, TokenFetchPipeline, TokenManager
from tokenkit.fetchers import (
    ClientCredentialsFetcher,
    PasswordFetcher,
    TokenExchangeFetcher,
)
from tokenkit.storage import InMemoryTokenStorage
from tokenkit.testing import LocalIdP


def steps(idp):
    """Return the user's token, the service's own, and the one that both buy."""
    client = {"token_url": idp.token_url, "client_id": "client"}
    client["client_secret"] = "secret"
    return [
        PasswordFetcher(**client, name="user", username="alice", password="wonderland"),
        ClientCredentialsFetcher(**client, name="service"),
        TokenExchangeFetcher(
            **client,
            name="backend",
            subject_token=lambda context: context["user"].access_token,
            actor_token=lambda context: context["service"].access_token,
            cache_key="user and service",  # what the functions mean, in any process
            audience="backend",
            depends_on=["user", "service"],
        ),
    ]


def main():
    with LocalIdP() as idp:
        pipeline = TokenFetchPipeline(steps(idp), InMemoryTokenStorage())
        provider = PipelineTokenProvider(pipeline, "shop", "backend")
        with TokenManager(provider) as manager, requests.Session() as session:
            session.auth = BearerAuth(manager)

            def show(what):
                status = session.get(idp.api("orders"), timeout=10).status_code
                grants = ("password", "client_credentials", "token-exchange")
                calls = [f"{one} {idp.count(f'token:{one}')}" for one in grants]
                print(f"{what}: {status}; {', '.join(calls)}")

            show("first request")
            show("second request")
            idp.revoke(manager.current)
            show("after the backend's token was revoked")


if __name__ == "__main__":
    main()
