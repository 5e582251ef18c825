"""How often to try again, as users of requests say it: one check for token endpoints and APIs alike."""

from __future__ import annotations

from urllib3.util import Retry

from tokenkit._checks import is_count
from tokenkit.errors import ConfigurationError

__all__ = ["checked_retries"]


def checked_retries(retries: object) -> int | Retry | None:
    """Return *retries*: a number of further tries, a policy, or None for the default of whoever asks.

    Raises:
        ConfigurationError: It is none of these.
    """
    if retries is None or is_count(retries) or isinstance(retries, Retry):
        return retries
    raise ConfigurationError("retries must be None, a whole number, at least 0, or an urllib3.util.Retry")
