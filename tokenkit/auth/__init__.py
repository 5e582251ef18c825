"""Where tokens meet requests: an auth for any session, and a session with time limits for whole calls."""

from tokenkit._faces import lazily

__all__, __getattr__, __dir__ = lazily(
    __name__,
    {
        "bearer": ["BearerAuth"],
        "session": ["AuthorizedSession"],
    },
)
