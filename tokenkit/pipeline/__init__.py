"""Tokens in steps: each cached for its own time, fetched once for all who ask."""

from tokenkit._faces import lazily

__all__, __getattr__, __dir__ = lazily(
    __name__,
    {
        "pipeline": ["PipelineTokenProvider", "TokenFetchPipeline"],
    },
)
