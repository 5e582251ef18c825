from tokenkit.pipeline.pipeline import PipelineTokenProvider, TokenFetchPipeline

__all__ = ["PipelineTokenProvider", "TokenFetchPipeline"]
