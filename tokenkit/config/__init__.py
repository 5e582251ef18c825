"""Managers from a TOML file or from environment variables."""

from tokenkit.config.config import Configuration, from_config, from_env

__all__ = ["Configuration", "from_config", "from_env"]
