"""What tests of code that uses tokenkit need: a real identity provider and a clock that obeys.

Shipped with the package and never imported by it. `pytest` offers both as the fixtures ``local_idp``
and ``fake_clock`` (see :mod:`tokenkit.testing.plugin`).
"""

from tokenkit._faces import lazily

__all__, __getattr__, __dir__ = lazily(
    __name__,
    {
        "clock": ["FakeClock"],
        "idp": ["LocalIdP"],
    },
)
