"""Retrieval quality: encode once over all ranks, score every Matryoshka dimension."""
