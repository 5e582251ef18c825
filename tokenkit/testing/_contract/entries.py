"""What a storage owes of its entries: reading, writing, comparing."""

from __future__ import annotations

import time
from dataclasses import replace
from datetime import datetime, timedelta, timezone

import pytest

from tokenkit.contracts import TokenStorage
from tokenkit.testing._contract.concurrency import in_child, in_children, in_threads
from tokenkit.tokens import Token

__all__ = ["EntryContract"]

_NOW = datetime.now(timezone.utc).replace(microsecond=123456)


class EntryContract:
    """The part of the contract that tokens are kept by."""

    between_processes: bool = True

    def token(self, name: str = "secret", **changes: object) -> Token:
        """Return a token with every field set, good for an hour."""
        token = Token(
            access_token=f"access-{name}",
            expires_at=_NOW + timedelta(hours=1),
            issued_at=_NOW,
            refresh_token=f"refresh-{name}",
            scope="read write",
            extra={"refresh_expires_in": 7200, "tenant": {"name": "Zoë", "tags": ["a", "b"]}},
        )
        return replace(token, **changes)  # type: ignore[arg-type]  # fields by name

    def test_nothing_is_there_at_first(self, storage: TokenStorage) -> None:
        """A key that was never set has no token."""
        assert storage.get("key") is None
        assert not storage.exists("key")

    def test_a_token_comes_back_whole(self, storage: TokenStorage) -> None:
        """Every field of a token survives, to the microsecond."""
        token = self.token()
        storage.set("key", token)
        assert token == storage.get("key")
        assert storage.exists("key")

    def test_a_bare_token_comes_back(self, storage: TokenStorage) -> None:
        """A token without expiry, refresh token and scope is kept as it is."""
        storage.set("key", Token("bare"))
        assert Token("bare") == storage.get("key")

    def test_a_strict_look_sees_the_same(self, storage: TokenStorage) -> None:
        """Where everything can be read, get_strict() is get()."""
        assert storage.get_strict("key") is None
        storage.set("key", self.token())
        assert self.token() == storage.get_strict("key")

    def test_the_last_one_set_is_there(self, storage: TokenStorage) -> None:
        """Setting replaces whatever was there."""
        storage.set("key", self.token("old"))
        storage.set("key", self.token("new"))
        assert self.token("new") == storage.get("key")

    def test_a_large_token_is_kept(self, storage: TokenStorage) -> None:
        """A JWT with many claims has tens of kilobytes."""
        token = self.token("x" * 60_000)
        storage.set("key", token)
        assert token == storage.get("key")

    def test_a_spent_token_is_kept_for_its_refresh_token(self, storage: TokenStorage) -> None:
        """An expired access token stays as long as its refresh token may be good, judged by nobody here."""
        token = self.token(expires_at=_NOW - timedelta(hours=1), issued_at=_NOW - timedelta(hours=1.5))
        storage.set("key", token)
        assert token == storage.get("key")

    def test_an_expired_token_is_no_error(self, storage: TokenStorage) -> None:
        """A token that has expired already, and has no refresh token, may be dropped but not refused."""
        token = self.token(expires_at=_NOW - timedelta(days=9), refresh_token=None)
        storage.set("key", token)
        assert storage.get("key") in (token, None)

    def test_a_deleted_token_is_gone(self, storage: TokenStorage) -> None:
        """Deleting forgets the entry, and again does no harm."""
        storage.set("key", self.token())
        storage.delete("key")
        storage.delete("key")
        assert storage.get("key") is None

    def test_clear_forgets_everything(self, storage: TokenStorage) -> None:
        """After clearing nothing is there, and the storage works on."""
        storage.set("one", self.token("1"))
        storage.set("two", self.token("2"))
        storage.clear()
        assert (None, None) == (storage.get("one"), storage.get("two"))
        storage.set("one", self.token("3"))
        assert self.token("3") == storage.get("one")

    def test_clearing_an_empty_storage_is_no_error(self, storage: TokenStorage) -> None:
        """Clearing twice does no harm."""
        storage.clear()
        storage.clear()
        assert storage.get("key") is None

    @pytest.mark.parametrize(
        "key",
        ["", "../../x", "/etc/passwd", "a b\r\nc", "k" * 10_000, "Zoë/☃", "*", "%s{0}", "nul\0nul", "\udc80"],
        ids=["empty", "up", "absolute", "spaces", "long", "unicode", "star", "format", "nul", "surrogate"],
    )
    def test_any_string_is_a_key(self, storage: TokenStorage, key: str) -> None:
        """A key is never a path, a pattern or a command, however it looks."""
        storage.set(key, self.token("odd"))
        storage.set(key + "x", self.token("next"))
        assert self.token("odd") == storage.get(key)
        storage.delete(key)
        assert (None, self.token("next")) == (storage.get(key), storage.get(key + "x"))

    def test_keys_differ_by_case(self, storage: TokenStorage) -> None:
        """'Key' and 'key' are two keys, on a file system that ignores case too."""
        storage.set("Key", self.token("upper"))
        storage.set("key", self.token("lower"))
        assert self.token("upper") == storage.get("Key")

    def test_keys_differ_by_white_space(self, storage: TokenStorage) -> None:
        """Nothing is stripped off a key."""
        storage.set("key", self.token("bare"))
        storage.set("key ", self.token("spaced"))
        assert self.token("bare") == storage.get("key")
        assert storage.get(" key") is None

    def test_delete_if_equal_spares_another_token(self, storage: TokenStorage) -> None:
        """Only the very token is deleted; one that took its place stays."""
        storage.set("key", self.token("new"))
        assert not storage.delete_if_equal("key", self.token("old"))
        assert self.token("new") == storage.get("key")

    def test_delete_if_equal_deletes_its_token(self, storage: TokenStorage) -> None:
        """The token that is there is deleted, once."""
        storage.set("key", self.token())
        assert storage.delete_if_equal("key", self.token())
        assert not storage.delete_if_equal("key", self.token())
        assert storage.get("key") is None

    def test_replace_wants_what_it_expects(self, storage: TokenStorage) -> None:
        """A token is replaced only where the expected one is there."""
        storage.set("key", self.token("1"))
        assert not storage.replace("key", self.token("0"), self.token("2"))
        assert not storage.replace("key", None, self.token("2"))
        assert self.token("1") == storage.get("key")
        assert storage.replace("key", self.token("1"), self.token("2"))
        assert self.token("2") == storage.get("key")

    def test_replace_compares_whole_tokens(self, storage: TokenStorage) -> None:
        """One access token with two refresh tokens is two tokens."""
        storage.set("key", self.token(refresh_token="new"))
        assert not storage.replace("key", self.token(refresh_token="old"), self.token("2"))
        assert not storage.delete_if_equal("key", self.token(refresh_token="old"))
        assert self.token(refresh_token="new") == storage.get("key")

    def test_replace_puts_a_first_token(self, storage: TokenStorage) -> None:
        """Expecting None means that nothing may be there."""
        assert not storage.replace("key", self.token("0"), self.token("1"))
        assert storage.replace("key", None, self.token("1"))
        assert not storage.replace("key", None, self.token("2"))
        assert self.token("1") == storage.get("key")

    def test_of_many_replacing_one_wins(self, storage: TokenStorage) -> None:
        """Threads that all expect the same token replace it once between them."""
        storage.set("key", self.token("old"))
        results = in_threads(6, lambda number: storage.replace("key", self.token("old"), self.token(str(number))))
        assert [True] == [result for result in results if result]
        assert self.token(str(results.index(True))) == storage.get("key")

    def test_processes_that_replace_lose_no_change(self, storage: TokenStorage) -> None:
        """A process that replaces what it read knows whether another was faster, without holding any lock."""
        if not self.between_processes:
            pytest.skip("shared between threads only")
        storage.set("key", Token("counter", scope="0"))

        def count(number: int) -> bool:
            for _ in range(4):
                while True:
                    seen = storage.get("key")
                    assert seen is not None
                    if storage.replace("key", seen, replace(seen, scope=str(int(seen.scope or 0) + 1))):
                        break
            return True

        assert [True] * 3 == in_children(3, count)
        assert Token("counter", scope="12") == storage.get("key")

    def test_a_twin_sees_the_same(self, storage: TokenStorage, twin: TokenStorage) -> None:
        """Two objects for one storage share its entries, both ways."""
        storage.set("key", self.token("1"))
        assert self.token("1") == twin.get("key")
        twin.set("key", self.token("2"))
        assert self.token("2") == storage.get("key")
        twin.clear()
        assert storage.get("key") is None

    def test_a_reader_never_sees_half_a_token(self, storage: TokenStorage, twin: TokenStorage) -> None:
        """Beside a writer in a loop, a reader sees whole tokens and nothing else."""
        tokens = [self.token("a" * 5000), self.token("b" * 9000)]
        storage.set("key", tokens[0])
        end = time.monotonic() + 0.5
        seen: list[Token | None] = []

        def work(number: int) -> None:
            turn = 0
            while time.monotonic() < end:
                turn += 1
                if number:
                    seen.append(twin.get("key"))
                else:
                    storage.set("key", tokens[turn % 2])

        assert [None] * 3 == in_threads(3, work)
        assert seen
        assert all(token in tokens for token in seen)

    def test_a_child_goes_on(self, storage: TokenStorage) -> None:
        """A forked child uses the storage at once, whatever its parent was doing with it."""
        storage.set("key", self.token("1"))

        def child() -> bool:
            storage.set("other", self.token("2"))
            with storage.lock("free", 20):
                return storage.get("key") == self.token("1") and storage.get("other") == self.token("2")

        assert in_child(child)
        assert self.token("1") == storage.get("key")
