# For type checkers: the options of each verb by name, which takes what is newer than the oldest Python.

from collections.abc import Mapping, MutableMapping
from datetime import timedelta
from http.cookiejar import CookieJar
from typing import Any, TypedDict

import requests
from requests import Response
from typing_extensions import Unpack

__all__ = ["Verbs"]

class _Options(TypedDict, total=False):
    headers: Mapping[str, str | bytes | None] | None
    cookies: CookieJar | MutableMapping[str, str] | None
    files: Any
    auth: Any
    timeout: float | tuple[float | None, float | None] | None
    allow_redirects: bool
    proxies: Mapping[str, str] | None
    hooks: Any
    stream: bool | None
    verify: bool | str | None
    cert: str | tuple[str, str] | None

class _WithParams(_Options, total=False):
    params: Any

class _WithJson(_WithParams, total=False):
    json: Any

class _WithAll(_WithJson, total=False):
    data: Any

class _WithBody(_Options, total=False):
    data: Any
    json: Any

class Verbs(requests.Session):
    def get(
        self,
        url: str | bytes,
        params: Any = None,
        *,
        max_allowed_time: float | timedelta | None = None,
        **options: Unpack[_WithBody],
    ) -> Response: ...
    def options(
        self, url: str | bytes, *, max_allowed_time: float | timedelta | None = None, **options: Unpack[_WithAll]
    ) -> Response: ...
    def head(
        self, url: str | bytes, *, max_allowed_time: float | timedelta | None = None, **options: Unpack[_WithAll]
    ) -> Response: ...
    def post(
        self,
        url: str | bytes,
        data: Any = None,
        json: Any = None,
        *,
        max_allowed_time: float | timedelta | None = None,
        **options: Unpack[_WithParams],
    ) -> Response: ...
    def put(
        self,
        url: str | bytes,
        data: Any = None,
        *,
        max_allowed_time: float | timedelta | None = None,
        **options: Unpack[_WithJson],
    ) -> Response: ...
    def patch(
        self,
        url: str | bytes,
        data: Any = None,
        *,
        max_allowed_time: float | timedelta | None = None,
        **options: Unpack[_WithJson],
    ) -> Response: ...
    def delete(
        self, url: str | bytes, *, max_allowed_time: float | timedelta | None = None, **options: Unpack[_WithAll]
    ) -> Response: ...
