"""The methods of a session that are named after HTTP's, each with a deadline over the whole call.

Type checkers read the stub beside this module, which knows the other options.
"""

from __future__ import annotations

from datetime import timedelta
from typing import Any

import requests
from requests import Response

__all__ = ["Verbs"]

_Limit = float | timedelta | None


class Verbs(requests.Session):
    """A session whose verbs pass *max_allowed_time* on to its ``request``, which knows what to do with it."""

    def get(self, url: str | bytes, params: Any = None, *, max_allowed_time: _Limit = None, **options: Any) -> Response:
        """Send a GET; see :meth:`request`."""
        return super().get(url, params=params, **_within(max_allowed_time, options))

    def options(self, url: str | bytes, *, max_allowed_time: _Limit = None, **options: Any) -> Response:
        """Send an OPTIONS; see :meth:`request`."""
        return super().options(url, **_within(max_allowed_time, options))

    def head(self, url: str | bytes, *, max_allowed_time: _Limit = None, **options: Any) -> Response:
        """Send a HEAD, which follows no redirect unless told to; see :meth:`request`."""
        return super().head(url, **_within(max_allowed_time, options))

    def post(
        self, url: str | bytes, data: Any = None, json: Any = None, *, max_allowed_time: _Limit = None, **options: Any
    ) -> Response:
        """Send a POST; see :meth:`request`."""
        return super().post(url, data, json, **_within(max_allowed_time, options))

    def put(self, url: str | bytes, data: Any = None, *, max_allowed_time: _Limit = None, **options: Any) -> Response:
        """Send a PUT; see :meth:`request`."""
        return super().put(url, data, **_within(max_allowed_time, options))

    def patch(self, url: str | bytes, data: Any = None, *, max_allowed_time: _Limit = None, **options: Any) -> Response:
        """Send a PATCH; see :meth:`request`."""
        return super().patch(url, data, **_within(max_allowed_time, options))

    def delete(self, url: str | bytes, *, max_allowed_time: _Limit = None, **options: Any) -> Response:
        """Send a DELETE; see :meth:`request`."""
        return super().delete(url, **_within(max_allowed_time, options))


def _within(limit: _Limit, options: dict[str, Any]) -> dict[str, Any]:
    # Where nobody asks for a limit, a subclass's request() need not know the argument.
    return options if limit is None else {**options, "max_allowed_time": limit}
