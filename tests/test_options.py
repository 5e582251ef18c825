import logging
import math
from datetime import timedelta
from typing import Any

import pytest

from tokenkit import options
from tokenkit.errors import ConfigurationError
from tokenkit.options import (
    OPTION_MAX_RETRIES,
    OPTION_RENEW_REQUEST_TIMEOUT,
    OPTION_RENEW_REQUIRED,
    OPTION_RENEW_SYNCHRONOUS,
    OPTION_REPORT_ERROR,
    FetchOptions,
)

FLAGS = {
    OPTION_RENEW_REQUIRED: "renew_required",
    OPTION_RENEW_SYNCHRONOUS: "renew_synchronous",
    OPTION_REPORT_ERROR: "report_error",
}
NUMBERS = {OPTION_RENEW_REQUEST_TIMEOUT: "renew_request_timeout", OPTION_MAX_RETRIES: "max_retries"}


def test_keys() -> None:
    """The keys of the mapping are these strings, for good."""
    assert {
        "token_renew_required": "renew_required",
        "token_renew_synchronous": "renew_synchronous",
        "token_renew_report_error": "report_error",
        "token_renew_request_timeout": "renew_request_timeout",
        "max_fetch_token_retries": "max_retries",
    } == FLAGS | NUMBERS
    assert FLAGS.keys() | NUMBERS.keys() == {
        value for name, value in vars(options).items() if name.startswith("OPTION_")
    }


@pytest.mark.parametrize("nothing", [None, {}, FetchOptions(), dict.fromkeys(NUMBERS, "")])
def test_defaults(nothing: Any) -> None:
    """Where nothing is asked for, a call reports errors and leaves the rest to the policy."""
    expected = FetchOptions(
        renew_required=False, renew_synchronous=False, report_error=True, renew_request_timeout=None, max_retries=None
    )
    assert expected == FetchOptions.of(nothing)


@pytest.mark.parametrize(("key", "field"), FLAGS.items())
@pytest.mark.parametrize("text", ["1", "true", "0", "false", "no", " "])
def test_any_text_switches_a_flag_on(key: str, field: str, text: str) -> None:
    """Any non-empty string switches a flag on, '0' and 'false' included."""
    assert getattr(FetchOptions.of({key: text}), field) is True


@pytest.mark.parametrize(("key", "field"), FLAGS.items())
def test_empty_text_switches_a_flag_off(key: str, field: str) -> None:
    """The empty string switches a flag off."""
    assert getattr(FetchOptions.of({key: ""}), field) is False


@pytest.mark.parametrize(
    ("key", "text", "number"),
    [
        (OPTION_RENEW_REQUEST_TIMEOUT, "2.5", 2.5),
        (OPTION_RENEW_REQUEST_TIMEOUT, "30", 30.0),
        (OPTION_MAX_RETRIES, "3", 3),
        (OPTION_MAX_RETRIES, "0", 0),
        (OPTION_MAX_RETRIES, 4, 4),
    ],
)
def test_numbers(key: str, text: Any, number: float) -> None:
    """A number in a mapping is read as a time-out in seconds or a whole number of retries."""
    assert number == getattr(FetchOptions.of({key: text}), NUMBERS[key])


@pytest.mark.parametrize(
    ("key", "value"),
    [(key, value) for key in NUMBERS for value in ("soon", "nan", "inf", "-inf", "-1", "1e999", [1])]
    + [(OPTION_RENEW_REQUEST_TIMEOUT, "0"), (OPTION_RENEW_REQUEST_TIMEOUT, 10**400), (OPTION_MAX_RETRIES, "2.5")]
    + [(OPTION_MAX_RETRIES, math.inf)],
)
def test_bad_numbers_are_logged_and_ignored(key: str, value: Any, caplog: pytest.LogCaptureFixture) -> None:
    """A number that does not parse, or is out of range, counts as absent, with one warning that does not quote it."""
    assert FetchOptions() == FetchOptions.of({key: value})
    assert [f"option {key} is not a usable number and is ignored [option-ignored]"] == caplog.messages


def test_unknown_keys_are_ignored(caplog: pytest.LogCaptureFixture) -> None:
    """Keys that belong to somebody else pass without a word."""
    caplog.set_level(logging.DEBUG)
    assert FetchOptions(renew_required=True) == FetchOptions.of({OPTION_RENEW_REQUIRED: "y", "x_trace": "1"})
    assert [] == caplog.messages


def test_a_value_is_passed_on() -> None:
    """Options that are a value already are the same object afterwards."""
    value = FetchOptions(max_retries=1)
    assert value is FetchOptions.of(value)


@pytest.mark.parametrize("wrong", ["token_renew_required", 1, True, ["token_renew_required"], object()])
def test_wrong_types(wrong: Any) -> None:
    """Anything that is neither options nor a mapping is refused by its type, unquoted."""
    with pytest.raises(ConfigurationError, match=f"not {type(wrong).__name__}$"):
        FetchOptions.of(wrong)


@pytest.mark.parametrize(
    ("field", "value"),
    [(field, value) for field in FLAGS.values() for value in ("", "yes", 1, None)]
    + [(field, value) for field in NUMBERS.values() for value in ("1", True, -1, math.nan, math.inf, [1])]
    + [("renew_request_timeout", value) for value in (0, 10**400, timedelta(0), timedelta(seconds=-1))]
    + [("max_retries", value) for value in (1.0, 2.5, timedelta(1))],
)
def test_bad_values(field: str, value: Any) -> None:
    """A value of the wrong type or out of range is refused by name."""
    with pytest.raises(ConfigurationError, match=field):
        FetchOptions(**{field: value})


def test_timeout_as_a_timedelta() -> None:
    """A time-out may be a timedelta and reads as seconds."""
    assert 90.0 == FetchOptions(renew_request_timeout=timedelta(minutes=1.5)).renew_request_timeout
    assert FetchOptions(max_retries=0) == FetchOptions(max_retries=0)
    with pytest.raises(TypeError):
        FetchOptions(True)
