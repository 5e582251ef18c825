from tokenkit.manager.manager import TokenManager, TokenReceiver

__all__ = ["TokenManager", "TokenReceiver"]
