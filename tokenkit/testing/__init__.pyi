from tokenkit.testing.clock import FakeClock
from tokenkit.testing.idp import LocalIdP

__all__ = ["FakeClock", "LocalIdP"]
