"""What tests of code that uses tokenkit need: a real identity provider and a clock that obeys.

Shipped with the package and never imported by it. `pytest` offers both as the fixtures ``local_idp``
and ``fake_clock`` (see :mod:`tokenkit.testing.plugin`).
"""

from tokenkit.testing.clock import FakeClock
from tokenkit.testing.idp import LocalIdP

__all__ = ["FakeClock", "LocalIdP"]
