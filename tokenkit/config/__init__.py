"""Managers from a TOML file or from environment variables."""

from tokenkit.config.config import from_config, from_env

__all__ = ["from_config", "from_env"]
