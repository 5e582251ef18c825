"""Tokens in steps: each cached for its own time, fetched once for all who ask."""

from tokenkit.pipeline.pipeline import PipelineTokenProvider, TokenFetchPipeline

__all__ = ["PipelineTokenProvider", "TokenFetchPipeline"]
