"""A certificate for a test takes an optional package."""

import sys
from pathlib import Path

import pytest

from tokenkit.testing.certificates import self_signed


def test_a_missing_extra_is_named(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """The ImportError says what to install."""
    monkeypatch.setitem(sys.modules, "cryptography", None)
    with pytest.raises(ImportError, match=r"pip install 'requests-tokenkit\[crypto\]'"):
        self_signed(tmp_path)
