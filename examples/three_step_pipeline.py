"""Device token, app token, user token: each step sends those before it."""

import requests

from tokenkit import BearerAuth, TokenManager
from tokenkit.fetchers import BodyTokenFetcher, HeaderTokenFetcher
from tokenkit.pipeline import PipelineTokenProvider, TokenFetchPipeline
from tokenkit.storage import InMemoryTokenStorage
from tokenkit.testing import LocalIdP


class UserTokenFetcher(BodyTokenFetcher):
    def _build_request_headers(self, context):
        headers = super()._build_request_headers(context)
        headers["X-Device-Token"] = context["device"].access_token
        headers["X-App-Token"] = context["app"].access_token
        return headers


def app_headers(context):
    return {"X-Device-Token": context["device"].access_token}


def steps(url):
    """Return the three fetchers for the service at *url*."""
    device = {"device_id": "till-7"}
    user = {"username": "alice", "password": "wonderland"}
    as_json = {"content_type": "json", "token_field": "data.token"}
    both = ["device", "app"]
    return [
        BodyTokenFetcher("device", url, "/device", request_data=device, **as_json),
        HeaderTokenFetcher(
            "app", url, "/app", request_headers=app_headers, depends_on=["device"]
        ),
        UserTokenFetcher("user", url, "/user", request_data=user, depends_on=both),
    ]


def main():
    with LocalIdP() as idp:
        pipeline = TokenFetchPipeline(steps(idp.url), InMemoryTokenStorage())
        provider = PipelineTokenProvider(pipeline, "shop", refresh_from_step="user")
        with TokenManager(provider) as manager, requests.Session() as session:
            session.auth = BearerAuth(manager)

            def show(what):
                status = session.get(idp.api("orders"), timeout=10).status_code
                calls = [f"{one} {idp.count(one)}" for one in ("device", "app", "user")]
                print(f"{what}: {status}; token calls so far: {', '.join(calls)}")

            show("first request")
            show("second request")
            idp.revoke_current()
            show("after the user token was revoked")


if __name__ == "__main__":
    main()
