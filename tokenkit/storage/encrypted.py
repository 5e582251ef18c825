"""Tokens as ciphertext, in any other storage."""

from __future__ import annotations

import copy
import json
from collections.abc import Sequence
from contextlib import AbstractContextManager
from typing import Any, final

from cryptography.fernet import Fernet, InvalidToken, MultiFernet

from tokenkit._secrecy.pickling import refuse_to_pickle
from tokenkit.contracts import TokenStorage
from tokenkit.errors import ConfigurationError
from tokenkit.storage._failures import guarded
from tokenkit.storage.codec import EntryReader, encode, lifetime_facts, matches
from tokenkit.tokens import Token

__all__ = ["EncryptedTokenStorage"]

_TOKEN_TYPE = "Encrypted"  # so that nobody sends the ciphertext to an API as if it were a token


@final
class EncryptedTokenStorage(TokenStorage):
    """Keeps tokens in *inner*, encrypted with Fernet (AES-128-CBC and HMAC-SHA256).

    *inner* sees the ciphertext, the two times that tell it how long to keep an entry, and that there is a refresh
    token. A ciphertext is bound to its key: copied to another one it counts as absent, as does whatever none of
    *keys* decrypts. Locks and sharing are those of *inner*.

    To rotate keys, put the new one first and keep the old ones until every token has been renewed. It is pickled only
    for a child that ``multiprocessing`` spawns, since a pickle would carry the keys.

    Args:
        inner: Where the ciphertext is kept; closed with this storage.
        keys: One key or several, as :meth:`cryptography.fernet.Fernet.generate_key` makes them. The first encrypts,
            all decrypt.

    Raises:
        ConfigurationError: There is no key, or one is not a Fernet key, or *inner* is no storage.

    Example:
        >>> from cryptography.fernet import Fernet
        >>> from tokenkit.storage import InMemoryTokenStorage
        >>> inner = InMemoryTokenStorage()
        >>> storage = EncryptedTokenStorage(inner, Fernet.generate_key())
        >>> storage.set("billing", Token("a-token"))
        >>> storage.get("billing").access_token
        'a-token'
    """

    def __init__(self, inner: TokenStorage, keys: str | bytes | Sequence[str | bytes]) -> None:
        if not isinstance(inner, TokenStorage):
            raise ConfigurationError("inner must be a TokenStorage")
        self._inner = inner
        self._keys, self._fernet = _fernet((keys,) if isinstance(keys, (str, bytes)) else keys)
        self._reader = EntryReader(repr(self))

    def __repr__(self) -> str:
        return f"<EncryptedTokenStorage in {self._inner!r}>"

    def __reduce__(self) -> tuple[Any, ...]:
        refuse_to_pickle("EncryptedTokenStorage", "its keys")
        return EncryptedTokenStorage, (self._inner, self._keys)

    def __copy__(self) -> EncryptedTokenStorage:
        return EncryptedTokenStorage(self._inner, self._keys)

    def __deepcopy__(self, memo: dict[int, Any]) -> EncryptedTokenStorage:
        return EncryptedTokenStorage(copy.deepcopy(self._inner, memo), self._keys)

    def get(self, key: str) -> Token | None:
        return self._opened(key, self._inner.get(key))

    def get_strict(self, key: str) -> Token | None:
        sealed = self._inner.get_strict(key)
        return guarded("decrypting an entry", lambda: self._opened(key, sealed, strict=True))

    def set(self, key: str, token: Token) -> None:
        self._inner.set(key, self._sealed(key, token))

    def delete(self, key: str) -> None:
        self._inner.delete(key)

    def clear(self) -> None:
        self._inner.clear()

    def delete_if_equal(self, key: str, token: Token) -> bool:
        sealed = self._inner.get(key)
        if sealed is None or not matches(self._opened(key, sealed), token):
            return False
        return self._inner.delete_if_equal(key, sealed)

    def replace(self, key: str, expected: Token | None, token: Token) -> bool:
        # Two encryptions of one token differ, so the inner storage compares the very ciphertext that was read here.
        sealed = self._inner.get(key)
        if not matches(self._opened(key, sealed), expected):
            return False
        return self._inner.replace(key, sealed, self._sealed(key, token))

    def lock(self, key: str, timeout: float) -> AbstractContextManager[None]:
        return self._inner.lock(key, timeout)

    @property
    def lock_lease(self) -> float | None:
        return self._inner.lock_lease

    @property
    def outlives_process(self) -> bool:
        return self._inner.outlives_process

    def close(self) -> None:
        self._inner.close()

    def _sealed(self, key: str, token: Token) -> Token:
        plain = json.dumps([key, encode(token)])
        return Token(
            access_token=self._fernet.encrypt(plain.encode()).decode(),
            token_type=_TOKEN_TYPE,
            expires_at=token.expires_at,
            issued_at=token.issued_at,
            refresh_token=None if token.refresh_token is None else "encrypted",
            extra=lifetime_facts(token),
        )

    def _opened(self, key: str, sealed: Token | None, *, strict: bool = False) -> Token | None:
        if sealed is None:
            return None
        try:
            bound_to, text = json.loads(self._fernet.decrypt(sealed.access_token))
        except (InvalidToken, ValueError, TypeError):
            problem = "no key decrypts it" if sealed.token_type == _TOKEN_TYPE else "it is not encrypted"
            self._reader.refuse(key, problem, strict=strict)
            return None
        if bound_to != key:
            self._reader.reject(key, "it was encrypted for another key of the storage")
            return None
        return self._reader.read(key, text, strict=strict)


def _fernet(keys: Sequence[str | bytes]) -> tuple[tuple[str | bytes, ...], MultiFernet]:
    try:
        kept = tuple(keys)
        return kept, MultiFernet([Fernet(key) for key in kept])
    except (ValueError, TypeError):
        pass
    raise ConfigurationError("keys must be one Fernet key or several: 32 bytes in URL-safe base64")
