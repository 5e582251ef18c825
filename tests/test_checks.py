"""One checker for each kind of argument."""

from datetime import timedelta
from typing import Any

import pytest

from tokenkit._checks import is_count, seconds
from tokenkit.errors import ConfigurationError


def test_a_duration_is_a_number_of_seconds_or_a_timedelta() -> None:
    """Either becomes a float."""
    assert 1.0 == seconds("timeout", 1, zero=False, infinite=False)
    assert 90.0 == seconds("timeout", timedelta(minutes=1.5), zero=False, infinite=False)


def test_what_no_float_can_hold_is_infinite() -> None:
    """Where a duration may be infinite, a whole number of any size may be given."""
    assert float("inf") == seconds("timeout", 10**400, zero=True, infinite=True)


@pytest.mark.parametrize("value", [None, "5", True, float("nan"), -1, timedelta(-1), float("inf"), 10**400, 0])
def test_what_is_no_duration_is_refused_by_name(value: Any) -> None:
    """The error says what the argument is called, and what it may be."""
    with pytest.raises(ConfigurationError, match="lock_lease must be a finite number of seconds or a timedelta"):
        seconds("lock_lease", value, zero=False, infinite=False)


def test_zero_is_a_duration_where_it_means_something() -> None:
    """A time limit of 0 is 'never wait'; a lease of 0 is none."""
    assert 0.0 == seconds("timeout", 0, zero=True, infinite=False)


@pytest.mark.parametrize("value", [True, -1, 1.0, "1", None, 10**400])
def test_a_count_is_a_whole_number_from_zero(value: Any) -> None:
    """Nothing else is one, and nothing that no loop would reach."""
    assert not is_count(value)
