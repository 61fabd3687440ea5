"""DenoisingAutoEncoderLoss where it does what it says, and refused where it would silently do something else."""

from sentence_transformers import SentenceTransformer
from sentence_transformers.sentence_transformer.losses import DenoisingAutoEncoderLoss

#: Parts of the names of layers by which decoders look at the embedding.
_CROSS_ATTENTION = ("crossattention", "encoder_attn")


class TiedDecoderLoss(DenoisingAutoEncoderLoss):  # type: ignore[misc]
    """Trains an encoder with a decoder that shares its weights and has layers of its own to look at the embedding."""

    def __init__(self, model: SentenceTransformer) -> None:
        """Make the decoder of the model's files.

        Raises:
            ValueError: weights are frozen, which sharing them would undo; or the decoder would not see the embedding.

        """
        if not all(parameter.requires_grad for parameter in model.parameters()):
            raise ValueError("it shares all weights with a decoder; leave spec.model.freeze and spec.model.lora out")
        dtype = model.dtype
        super().__init__(model)
        self.decoder.to(dtype)  # its weights are the model's from here on, in the precision of the file
        names = [name for name, _ in self.decoder.named_modules()]
        if not any(part in name for part in _CROSS_ATTENTION for name in names):
            architecture = type(self.decoder).__name__
            raise ValueError(f"{architecture} cannot look at an embedding; take a model of the BERT family")
