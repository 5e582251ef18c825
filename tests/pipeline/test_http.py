"""A real three-step pipeline against a real identity provider: what is sent, and what a rejection costs."""

from collections.abc import Iterator
from typing import Any

import pytest
import requests
from support.scripted import ask, outcomes

from tokenkit import (
    AuthenticationError,
    BearerAuth,
    PipelineTokenProvider,
    Token,
    TokenEndpointError,
    TokenFetchPipeline,
    TokenManager,
)
from tokenkit.contracts import FetchContext
from tokenkit.fetchers import BodyTokenFetcher, HeaderTokenFetcher
from tokenkit.storage import InMemoryTokenStorage
from tokenkit.testing import LocalIdP


class AppTokenFetcher(HeaderTokenFetcher):
    def _build_request_headers(self, context: FetchContext) -> dict[str, str]:
        headers = super()._build_request_headers(context)
        headers["X-Device-Token"] = context["device_token"].access_token
        return headers


class UserTokenFetcher(BodyTokenFetcher):
    def _build_request_headers(self, context: FetchContext) -> dict[str, str]:
        headers = super()._build_request_headers(context)
        headers["X-Device-Token"] = context["device_token"].access_token
        headers["X-App-Token"] = context["app_token"].access_token
        return headers


def steps(url: str, password: str = "wonderland", **options: Any) -> list[Any]:
    device = BodyTokenFetcher(
        "device_token", url, "/device", request_data={"device_id": "d1"}, token_field="data.token", **options
    )
    app = AppTokenFetcher(
        "app_token",
        url,
        "/app",
        request_headers={"X-Extra": "kept"},
        depends_on=["device_token"],
        content_type="json",
        **options,
    )
    user = UserTokenFetcher(
        "user_token",
        url,
        "/user",
        request_data={"username": "alice", "password": password},
        depends_on=["device_token", "app_token"],
        **options,
    )
    return [device, app, user]


@pytest.fixture
def pipeline(local_idp: LocalIdP) -> Iterator[TokenFetchPipeline]:
    pipeline = TokenFetchPipeline(steps(local_idp.url, retries=0), InMemoryTokenStorage())
    yield pipeline
    pipeline.close()


def counts(idp: LocalIdP) -> tuple[int, int, int]:
    return idp.count("device"), idp.count("app"), idp.count("user")


def test_three_steps_lead_to_a_token(local_idp: LocalIdP, pipeline: TokenFetchPipeline) -> None:
    """Each step is asked once, and the last one's token is accepted by the resource."""
    token = pipeline.execute()
    answer = requests.get(f"{local_idp.url}/api/me", headers={"Authorization": token.authorization}, timeout=5)
    assert (200, token.fingerprint) == (answer.status_code, answer.json()["token_fingerprint"])
    assert token is pipeline.execute()
    assert (1, 1, 1) == counts(local_idp)


def test_the_tokens_of_earlier_steps_are_sent(local_idp: LocalIdP, pipeline: TokenFetchPipeline) -> None:
    """X-Device-Token and X-App-Token arrive, beside what super() of the hook returns."""
    pipeline.execute()
    seen = {path: local_idp.last_request(path).headers for path in ("device", "app", "user")}
    device = seen["app"]["x-device-token"]
    assert device == seen["user"]["x-device-token"]
    assert local_idp.is_active(device)
    assert local_idp.is_active(seen["user"]["x-app-token"])
    assert ("kept", False) == (seen["app"]["x-extra"], "x-device-token" in seen["device"])


@pytest.mark.parametrize(
    ("from_step", "asked"),
    [(None, (0, 0, 1)), ("user_token", (0, 0, 1)), ("app_token", (0, 1, 1)), ("device_token", (1, 1, 1))],
)
def test_a_rejected_token_costs_exactly_its_steps(
    local_idp: LocalIdP, pipeline: TokenFetchPipeline, from_step: str | None, asked: tuple[int, int, int]
) -> None:
    """A 401 of the resource renews from refresh_from_step on, and the request succeeds with another token."""
    with TokenManager(PipelineTokenProvider(pipeline, "svc", from_step)) as manager, requests.Session() as session:
        session.auth = BearerAuth(manager)
        rejected = manager.get_token()
        local_idp.revoke(rejected)
        local_idp.reset_counts()
        assert 200 == session.get(f"{local_idp.url}/api/me", timeout=5).status_code
        assert rejected.access_token != manager.get_token().access_token
    assert asked == counts(local_idp)


def test_a_forced_renewal_of_a_manager_gives_another_token(local_idp: LocalIdP, pipeline: TokenFetchPipeline) -> None:
    """force_refresh and invalidate_token never get the cached token back."""
    with TokenManager(PipelineTokenProvider(pipeline, "svc")) as manager:
        first = manager.get_token()
        second = manager.force_refresh()
        manager.invalidate_token(second)
        third = manager.get_token()
    assert 3 == len({token.access_token for token in (first, second, third)})
    assert (1, 1, 3) == counts(local_idp)


def test_a_crowd_of_requests_with_one_revoked_token(local_idp: LocalIdP, pipeline: TokenFetchPipeline) -> None:
    """16 threads whose token was revoked cost one renewal, of the last step alone, and no failed request."""
    with TokenManager(PipelineTokenProvider(pipeline, "svc", "user_token")) as manager:
        local_idp.revoke(manager.get_token())

        def get() -> int:
            with requests.Session() as session:
                return session.get(f"{local_idp.url}/api/me", auth=BearerAuth(manager), timeout=10).status_code

        assert [200] * 16 == outcomes(ask(get, 16))
    assert (1, 1, 2) == counts(local_idp)


@pytest.mark.parametrize("kind", ["app", "device"])
def test_a_token_revoked_upstream_heals_itself(local_idp: LocalIdP, pipeline: TokenFetchPipeline, kind: Any) -> None:
    """The user endpoint refuses a cached upstream token with 401; both are fetched anew, and it is asked again."""
    pipeline.execute()
    local_idp.revoke_current(kind)
    pipeline.invalidate_step("user_token")
    assert local_idp.is_active(pipeline.execute())
    assert (2, 2, 3) == counts(local_idp)


def test_a_healed_token_reaches_all_who_need_it(local_idp: LocalIdP, pipeline: TokenFetchPipeline) -> None:
    """The app endpoint refuses the cached device token; the user endpoint then gets the new one too."""
    pipeline.execute()
    local_idp.revoke_current("device")
    pipeline.invalidate_step("app_token")
    assert local_idp.is_active(pipeline.execute())
    assert (2, 3, 2) == counts(local_idp)


def test_a_wrong_password_names_its_step(local_idp: LocalIdP) -> None:
    """A refusal for good is a TokenEndpointError of the user step; the tokens before it stay cached."""
    storage = InMemoryTokenStorage()
    wrong = TokenFetchPipeline(steps(local_idp.url, "s3cr3t", retries=0), storage)
    with pytest.raises(TokenEndpointError) as failure:
        wrong.execute()
    raised = failure.value
    assert ("user_token", 400, "invalid_grant", False) == (
        raised.step_name,
        raised.status,
        raised.error,
        raised.transient,
    )
    assert "s3cr3t" not in f"{raised!r} {raised.__cause__!r}"
    TokenFetchPipeline(steps(local_idp.url), storage).execute()
    assert (1, 1, 2) == counts(local_idp)


def test_a_managers_failure_names_the_step(local_idp: LocalIdP, pipeline: TokenFetchPipeline) -> None:
    """Through the manager too, the step that failed is named."""
    local_idp.fail("app", status=500, times=None)
    with TokenManager(PipelineTokenProvider(pipeline, "svc")) as manager, pytest.raises(AuthenticationError) as failure:
        manager.get_token()
    assert ("app_token", True) == (failure.value.step_name, failure.value.transient)


def test_a_step_that_hangs_ends_with_the_calls_time(local_idp: LocalIdP, pipeline: TokenFetchPipeline) -> None:
    """The time limit of the call is that of the request on the wire."""
    local_idp.fail("app", kind="hang", times=None)
    with pytest.raises(AuthenticationError) as failure:
        pipeline.execute(timeout=1.5)
    assert ("app_token", True) == (failure.value.step_name, failure.value.transient)
    local_idp.heal()
    assert isinstance(pipeline.execute(), Token)
