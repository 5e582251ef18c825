"""Where tokens meet requests: an auth for any session, and a session with time limits for whole calls."""

from tokenkit.auth.bearer import BearerAuth
from tokenkit.auth.session import AuthorizedSession

__all__ = ["AuthorizedSession", "BearerAuth"]
