from tokenkit.manager.manager import TokenManager, TokenReceiver
from tokenkit.manager.pool import ManagerPool

__all__ = ["ManagerPool", "TokenManager", "TokenReceiver"]
