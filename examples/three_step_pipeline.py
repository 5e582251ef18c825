"""Device token, app token, user token: each step sends the tokens before it, and each is cached for its own time."""

import requests

from tokenkit import (
    BearerAuth,
    BodyTokenFetcher,
    HeaderTokenFetcher,
    PipelineTokenProvider,
    TokenFetchPipeline,
    TokenManager,
)
from tokenkit.storage import InMemoryTokenStorage
from tokenkit.testing import LocalIdP


class AppTokenFetcher(HeaderTokenFetcher):  # the answer has the app token in a header
    def _build_request_headers(self, context):
        return {**super()._build_request_headers(context), "X-Device-Token": context["device"].access_token}


class UserTokenFetcher(BodyTokenFetcher):
    def _build_request_headers(self, context):
        device, app = context["device"].access_token, context["app"].access_token
        return {**super()._build_request_headers(context), "X-Device-Token": device, "X-App-Token": app}


def steps(url):
    """Return the three fetchers for the service at *url*."""
    device = {"device_id": "till-7"}
    user = {"username": "alice", "password": "wonderland"}
    return [
        BodyTokenFetcher("device", url, "/device", request_data=device, content_type="json", token_field="data.token"),
        AppTokenFetcher("app", url, "/app", depends_on=["device"]),
        UserTokenFetcher("user", url, "/user", request_data=user, depends_on=["device", "app"]),
    ]


def main():
    with LocalIdP() as idp:
        pipeline = TokenFetchPipeline(steps(idp.url), InMemoryTokenStorage())
        provider = PipelineTokenProvider(pipeline, "shop", refresh_from_step="user")
        with TokenManager(provider) as manager, requests.Session() as session:
            session.auth = BearerAuth(manager)

            def show(what):
                status = session.get(idp.api("orders"), timeout=10).status_code
                calls = ", ".join(f"{name} {idp.count(name)}" for name in ("device", "app", "user"))
                print(f"{what}: {status}; token calls so far: {calls}")

            show("first request")
            show("second request")
            idp.revoke_current()
            show("after the user token was revoked")


if __name__ == "__main__":
    main()
