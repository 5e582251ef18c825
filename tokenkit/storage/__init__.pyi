from tokenkit.storage.django import DjangoCacheTokenStorage as DjangoCacheTokenStorage
from tokenkit.storage.encrypted import EncryptedTokenStorage as EncryptedTokenStorage
from tokenkit.storage.file import FileTokenStorage as FileTokenStorage
from tokenkit.storage.keyring import KeyringTokenStorage as KeyringTokenStorage
from tokenkit.storage.memory import InMemoryTokenStorage as InMemoryTokenStorage
from tokenkit.storage.redis import RedisTokenStorage as RedisTokenStorage

__all__ = [
    "DjangoCacheTokenStorage",
    "EncryptedTokenStorage",
    "FileTokenStorage",
    "InMemoryTokenStorage",
    "KeyringTokenStorage",
    "RedisTokenStorage",
]
