"""A step that fails, or for which there is no time left: who is named, what is kept, what is not said."""

import pickle
from datetime import timedelta
from typing import Any

import pytest
import requests
from support.steps import chain, refusal

from tokenkit import (
    AuthenticationError,
    MalformedResponseError,
    TokenEndpointError,
    TransportError,
)
from tokenkit.contracts import FetchContext


def test_steps_are_told_the_time_that_is_left() -> None:
    """The context's timeout is the rest of the whole call's; without one there is none."""
    c = chain()
    c.device.script = [lambda: c.clock.advance(3)]
    c.app.script = [lambda: c.clock.advance(4)]
    c.execute(timeout=timedelta(seconds=10))
    assert [10, 7, 3] == [step.asked[0].timeout for step in (c.device, c.app, c.user)]
    c.execute(force_refresh=True)
    assert [None] * 3 == [step.asked[1].timeout for step in (c.device, c.app, c.user)]


def test_no_step_is_begun_after_the_time() -> None:
    """When the time is over before a step, the call fails with that step's name, and may be tried again."""
    c = chain()
    c.app.script = [lambda: c.clock.advance(10)]
    with pytest.raises(AuthenticationError) as failure:
        c.execute(timeout=10)
    assert ("user", True, (1, 1, 0)) == (failure.value.step_name, failure.value.transient, c.fetches)
    assert ("user-1", (1, 1, 1)) == (c.execute(timeout=10), c.fetches)


def test_no_time_is_enough_for_a_cached_token() -> None:
    """A timeout of 0 gives what is cached, and never asks."""
    c = chain()
    with pytest.raises(AuthenticationError, match="time"):
        c.execute(timeout=0)
    assert (0, 0, 0) == c.fetches
    c.execute()
    assert "user-1" == c.execute(timeout=0)


# Failures


@pytest.mark.parametrize(
    ("error", "kind"),
    [
        (TransportError("no route"), TransportError),
        (refusal(500, "server_error"), TokenEndpointError),
        (MalformedResponseError("no token"), MalformedResponseError),
        (RuntimeError("a bug"), AuthenticationError),
    ],
)
def test_a_failing_step_is_named(error: Exception, kind: type[AuthenticationError]) -> None:
    """What a step raises is the cause of an AuthenticationError that names it; steps after it are not asked."""
    c = chain()
    c.app.script = [error]
    with pytest.raises(kind) as failure:
        c.execute()
    assert ("app", error) == (failure.value.step_name, failure.value.__cause__)
    assert (1, 1, 0) == c.fetches


def test_the_facts_of_a_failure_are_kept() -> None:
    """Status, error code, transience and Retry-After of the cause are those of the error."""
    c = chain()
    c.user.script = [TokenEndpointError("busy", status=429, error="slow_down", transient=True, retry_after=7)]
    with pytest.raises(TokenEndpointError) as failure:
        c.execute()
    raised = failure.value
    assert (429, "slow_down", True, 7) == (raised.status, raised.error, raised.transient, raised.retry_after)


def test_tokens_of_earlier_steps_stay_cached() -> None:
    """After a failure the next call begins with the step that failed."""
    c = chain()
    c.user.script = [TransportError("no route")]
    with pytest.raises(TransportError):
        c.execute()
    assert ("user-2", (1, 1, 2)) == (c.execute(), c.fetches)


@pytest.mark.parametrize("wrong", [None, "abc", {"access_token": "abc"}])
def test_what_is_no_token_is_refused(wrong: Any) -> None:
    """A step that returns something else than a Token has failed, and nothing is cached."""
    c = chain()
    c.user.fetch = lambda context: wrong  # type: ignore[method-assign]  # as a careless subclass would
    with pytest.raises(MalformedResponseError) as failure:
        c.execute()
    assert ("user", None) == (failure.value.step_name, c.storage.get("user"))


def test_an_expired_token_is_refused() -> None:
    """A step that gives a token which is already expired has failed."""
    c = chain()
    c.app.script = [c.app.token(0, lifetime=-1)]
    with pytest.raises(MalformedResponseError) as failure:
        c.execute()
    assert ("app", (1, 1, 0)) == (failure.value.step_name, c.fetches)


def test_a_credential_in_a_foreign_error_goes_no_further() -> None:
    """An error of requests, which keeps what was sent, is neither cause nor context of what a step's failure raises."""
    request = requests.Request("POST", "https://idp.test/", data={"client_secret": "s3cr3t"}).prepare()
    c = chain()
    c.app.script = [requests.ConnectionError("s3cr3t", request=request)]
    with pytest.raises(AuthenticationError) as failure:
        c.execute()
    assert (None, None) == (failure.value.__cause__, failure.value.__context__)
    assert "s3cr3t" not in repr(failure.value)
    assert b"s3cr3t" not in pickle.dumps(failure.value)


def test_a_failing_step_hears_of_it() -> None:
    """on_fetch_error of the step that failed is called, once, with what it raised."""
    error = TransportError("no route")
    c = chain()
    c.app.script = [error]
    with pytest.raises(TransportError):
        c.execute()
    assert ([], [error], []) == (c.device.failed, c.app.failed, c.user.failed)


def test_what_the_hook_raises_is_logged_and_ignored(caplog: pytest.LogCaptureFixture) -> None:
    """An on_fetch_error that fails itself does not hide the failure, and its text is not logged."""

    def broken(error: Exception, context: FetchContext | None = None) -> None:
        raise RuntimeError("s3cr3t")

    c = chain()
    c.app.on_fetch_error = broken  # type: ignore[method-assign]  # as a careless subclass would
    c.app.script = [TransportError("no route")]
    with pytest.raises(TransportError, match="no route"):
        c.execute()
    assert "on_fetch_error of app raised RuntimeError" in caplog.text
    assert "s3cr3t" not in caplog.text


def test_what_the_caller_handles_is_no_part_of_a_failure() -> None:
    """Called while another error is handled, a failing step's cause is there and leads nowhere else."""
    error = TransportError("no route")
    error.__cause__ = OSError("unreachable")
    c = chain()
    c.app.script = [error]
    try:
        raise requests.HTTPError("of the caller", response=requests.Response())
    except requests.HTTPError:
        with pytest.raises(TransportError) as failure:
            c.execute()
    assert (error, OSError, None) == (failure.value.__cause__, type(error.__cause__), error.__context__)
