from tokenkit.manager.manager import TokenManager, TokenReceiver
from tokenkit.manager.pool import ManagerPool
from tokenkit.manager.status import ManagerStatus

__all__ = ["ManagerPool", "ManagerStatus", "TokenManager", "TokenReceiver"]
