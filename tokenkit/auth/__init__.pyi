from tokenkit.auth.bearer import BearerAuth
from tokenkit.auth.session import AuthorizedSession

__all__ = ["AuthorizedSession", "BearerAuth"]
