"""Images made once as small as the model sees them, instead of in every epoch and every evaluation. Imports torch.

Only where the image processor provably gives the same numbers for the small image as for the whole one: Qwen's resizes
to a multiple of its patches and leaves what has such a size alone.
"""

import hashlib
import json
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property
from typing import Any, cast

import pyarrow as pa
import torch
from PIL import Image
from sentence_transformers import CrossEncoder, SentenceTransformer
from sentence_transformers.base.modules import Transformer
from torch.nn import Module
from torch.utils.dlpack import from_dlpack
from torchvision.transforms.v2.functional import pil_to_tensor
from transformers import Qwen2VLImageProcessor

from finetune_api.types import FinetuneJobSpec

_LENT = 4


@dataclass(frozen=True)
class Reduction:
    """What one image processor makes of the size of images."""

    processor: Qwen2VLImageProcessor

    @cached_property
    def key(self) -> str:
        """Return what tells its images from those of other settings."""
        size = {"shortest": self.processor.size.shortest_edge, "longest": self.processor.size.longest_edge}
        settings = {**size, "factor": self._factor, "resample": int(self.processor.resample)}
        return hashlib.sha256(json.dumps(settings, sort_keys=True).encode()).hexdigest()[:8]

    def reduce(self, seen: Image.Image) -> Image.Image | None:
        """Return an upright RGB image in the processor's size; None if that is not smaller."""
        (reduced,) = self.processor.resize(
            images=_pixels(seen)[None], size=self.processor.size, resample=self.processor.resample, factor=self._factor
        )
        height, width = reduced.shape[1:]
        if height * width >= seen.width * seen.height:
            return None
        raw = "RGBX" if len(reduced) == _LENT else "RGB"
        return Image.frombytes("RGB", (width, height), reduced.permute(1, 2, 0).numpy().tobytes(), "raw", raw)

    @property
    def _factor(self) -> int:
        return int(self.processor.patch_size * self.processor.merge_size)


def _pixels(seen: Image.Image) -> torch.Tensor:
    """Return the pixels of an RGB image, C x H x W, with a fourth channel without a meaning where that saves a copy.

    Pillow keeps four bytes of each pixel and lends them, unless the image is so large that they lie in several pieces.
    """
    try:
        lent = pa.array(seen).flatten()
    except ValueError:
        return cast("torch.Tensor", pil_to_tensor(seen))
    return from_dlpack(lent).view(seen.height, seen.width, _LENT).permute(2, 0, 1)


def reduction_for(model: SentenceTransformer | CrossEncoder, spec: FinetuneJobSpec) -> Reduction | None:
    """Return how images are made smaller, None if they have to stay whole.

    They stay whole where a second model looks at them, to mine negatives or to guide a loss, and where settings of
    calls may ask for another size than the processor's own.
    """
    processors = {id(one): one for one in _image_processors(model)}
    if len(processors) != 1 or _has_other_readers(spec):
        return None
    (processor,) = processors.values()
    usable = type(processor) is Qwen2VLImageProcessor and processor.do_resize and processor.do_convert_rgb
    return Reduction(processor) if usable else None


def _image_processors(model: Module) -> Iterator[Any]:
    """Yield each image processor that the modules use; None for one whose calls have settings of their own."""
    for module in model.modules():
        if isinstance(module, Transformer) and (processor := getattr(module.processor, "image_processor", None)):
            calls = module.processing_kwargs
            yield None if calls.get("image") or calls.get("common") else processor


def _has_other_readers(spec: FinetuneJobSpec) -> bool:
    losses = [spec.training.loss, *(dataset.loss for dataset in spec.data.train)]
    guided = any(loss is not None and loss.guide is not None for loss in losses)
    mined = [dataset.mine_negatives for dataset in spec.data.train]
    return guided or any(one is not None and one.source is not None for one in mined)
