"""A reranker small enough for tests: the tiny Qwen3-VL with one score on top, for pairs of texts and images."""

from pathlib import Path


def build_tiny_reranker(folder: Path, *, embedding_model: Path, num_labels: int = 1) -> None:
    """Write an untrained reranker with the transformer of `embedding_model`; equal arguments give equal bytes."""
    import torch
    from sentence_transformers import CrossEncoder, SentenceTransformer
    from sentence_transformers.base.modules import Dense

    transformer, pooling = list(SentenceTransformer(str(embedding_model), device="cpu"))[:2]
    torch.manual_seed(0)
    score = Dense(
        transformer.get_embedding_dimension(),
        num_labels,
        activation_function=torch.nn.Identity(),
        module_output_name="scores",
    )
    reranker = CrossEncoder(modules=[transformer, pooling, score], device="cpu")
    reranker.save_pretrained(str(folder), create_model_card=False)
