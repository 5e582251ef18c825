from tokenkit.storage.codec import EntryReader, decode, encode, matches, retention
from tokenkit.storage.django import DjangoCacheTokenStorage
from tokenkit.storage.encrypted import EncryptedTokenStorage
from tokenkit.storage.file import FileTokenStorage
from tokenkit.storage.keyring import KeyringTokenStorage
from tokenkit.storage.memory import InMemoryTokenStorage
from tokenkit.storage.redis import RedisTokenStorage

__all__ = [
    "DjangoCacheTokenStorage",
    "EncryptedTokenStorage",
    "EntryReader",
    "FileTokenStorage",
    "InMemoryTokenStorage",
    "KeyringTokenStorage",
    "RedisTokenStorage",
    "decode",
    "encode",
    "matches",
    "retention",
]
