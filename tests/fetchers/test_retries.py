"""How often a token request is tried again, after what, and how long the pauses are."""

import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from datetime import datetime, timezone
from email.utils import formatdate
from typing import Any

import pytest
import requests
from support.raw_server import answer, raw_server, says
from support.zones import zone
from urllib3.util import Retry

from tokenkit.errors import TokenEndpointError
from tokenkit.fetchers import HttpTokenFetcher
from tokenkit.fetchers._answers import retry_after_seconds
from tokenkit.fetchers._transport import _policy

GOOD = answer(b'{"access_token": "good", "expires_in": 60}')
TRIED_AGAIN = (408, 429, 500, 502, 503, 504)


def at_once(work: Callable[[Any], int], numbers: tuple[int | None, ...]) -> list[int]:
    """Do *work* for all the numbers at the same time: most of it are pauses."""
    with ThreadPoolExecutor(len(numbers)) as pool:
        return list(pool.map(work, numbers))


def requests_until_it_fails(retries: int | None) -> int:
    with raw_server(says(answer(b"", status="503 Busy"))) as server:
        with pytest.raises(TokenEndpointError):
            HttpTokenFetcher("step", server.url, "/token", retries=retries).fetch()
        return len(server.requests)


def test_each_status_that_may_pass_is_tried_again() -> None:
    """By default, with a POST, and without a Retry-After."""

    def requests_until_it_works(status: int) -> int:
        with raw_server(says(answer(b"", status=f"{status} Later")), says(GOOD)) as server:
            HttpTokenFetcher("step", server.url, "/token").fetch()
            return len(server.requests)

    assert [2] * len(TRIED_AGAIN) == at_once(requests_until_it_works, TRIED_AGAIN)


def test_a_number_of_retries_is_that_many_and_none_is_two() -> None:
    """After the first request, which 0 leaves alone."""
    assert [3, 1, 2, 4] == at_once(requests_until_it_fails, (None, 0, 1, 3))


@pytest.mark.parametrize(
    ("failures", "longest"), [(1, 0.4), (2, 0.8), (3, 1.6), (4, 3.2), (12, Retry.DEFAULT_BACKOFF_MAX)]
)
def test_pauses_double_and_half_of_each_is_chance(failures: int, longest: float) -> None:
    """So that a fleet whose server was down does not come back at once; even the longest pause has an end."""
    policy = _policy(20)
    for _ in range(failures):
        policy = policy.increment("POST", "/", error=TimeoutError())
    pauses = [policy.get_backoff_time() for _ in range(300)]
    assert longest / 2 <= min(pauses) < 0.6 * longest
    assert 0.9 * longest < max(pauses) <= longest


def asked_pause(value: str) -> float | None:
    response = requests.Response()
    response.headers["Retry-After"] = value
    return retry_after_seconds(response)


DATES = {
    "IMF-fixdate": lambda moment: formatdate(moment, usegmt=True),
    "RFC 850": lambda moment: datetime.fromtimestamp(moment, timezone.utc).strftime("%A, %d-%b-%y %H:%M:%S GMT"),
    "asctime": lambda moment: time.asctime(time.gmtime(moment)),
    "a numeric zone": lambda moment: formatdate(moment + 9000)[:-5] + "+0230",
    "an unknown zone": lambda moment: formatdate(moment),
}


@pytest.mark.parametrize("written", DATES.values(), ids=DATES)
@pytest.mark.parametrize("here", ["UTC", "XST-5:30"])
def test_a_retry_after_date_is_read_in_each_of_its_forms(written: Callable[[float], str], here: str) -> None:
    """A recipient must accept all three of RFC 9110 section 5.6.7, and a date without a zone is in UTC."""
    with zone(here):
        seconds = asked_pause(written(time.time() + 1800))
    assert seconds is not None
    assert 1700 < seconds <= 1800


@pytest.mark.parametrize(
    "value", ["", "soon", "nan", "inf", "Sun Foo  6 08:49:37 1994", "Sun Nov 99 08:49:37 1994", "1 2 3"]
)
def test_a_retry_after_that_is_neither_number_nor_date_is_none(value: str) -> None:
    """It is left out, however much it looks like one."""
    assert asked_pause(value) is None
