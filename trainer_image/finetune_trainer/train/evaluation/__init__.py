"""Quality of a model: encode or score once over all ranks, then measure every set, metric and Matryoshka dimension."""
