"""The command ``tokenkit``."""

from tokenkit.cli.main import main

__all__ = ["main"]
