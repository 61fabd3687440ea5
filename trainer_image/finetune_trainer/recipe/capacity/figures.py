"""What is known of a model and of its inputs, in numbers; from configurations and names of weights alone."""

import math
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from fnmatch import fnmatchcase
from typing import Any

from finetune_api.model import Lora

#: Bytes of a number of a pixel while it travels, and pixels of one colour in a colour picture.
_FLOAT32 = 4
_COLOURS = 3
#: Where a processor states no limit, Qwen's own.
_OWN_PIXELS = 1_310_720
#: Texts without a stated limit are counted as so many tokens.
_TOKENS = 512
_LAYER = re.compile(r".*?\.\d+\.")


@dataclass(frozen=True)
class Stack:
    """Layers of one width."""

    name: str
    """language or vision."""
    width: int
    layers: int


@dataclass(frozen=True)
class ModelFigures:
    """A model."""

    parameters: int
    trained: int
    """Of these, or of adapters beside them."""
    stored_bytes: float
    """Of the files that prepare fetches."""
    stacks: tuple[Stack, ...]
    layers: tuple[int, ...] = ()
    """Trained numbers of each layer of which there are many; adapters are not counted."""

    @property
    def width(self) -> int:
        """Return the numbers of an embedding, at most."""
        return max((stack.width for stack in self.stacks), default=0)


@dataclass(frozen=True)
class InputFigures:
    """One text or image, the largest of a column."""

    num_bytes: float
    """That data loader workers hand over."""
    tokens: Mapping[str, int] = field(default_factory=dict)
    """By stack."""
    usual_bytes: float = 0.0
    """Of one of the mean size; 0 if that is not known."""


@dataclass(frozen=True)
class ImageSettings:
    """What an image processor makes of an image."""

    pixels: int
    """At most."""
    patch: int
    merge: int = 1
    """Patches along one side that make a token of the language model."""
    frames: int = 1

    @property
    def figures(self) -> InputFigures:
        """Return an image of as many pixels as there may be."""
        patches = math.ceil(self.pixels / self.patch**2)
        tokens = {"vision": patches, "language": math.ceil(patches / self.merge**2)}
        return InputFigures(self.pixels * _COLOURS * self.frames * _FLOAT32, tokens)


def text_figures(max_seq_length: int | None) -> InputFigures:
    """Return a text of the stated length; its numbers and mask are next to nothing."""
    tokens = max_seq_length or _TOKENS
    return InputFigures(3 * 8 * tokens, {"language": tokens})


def stacks_of(config: Mapping[str, Any]) -> tuple[Stack, ...]:
    """Return the stacks of layers that a config.json tells of."""
    language = config.get("text_config") or config
    vision = config.get("vision_config") or {}
    found = [_stack("language" if "vocab_size" in language else "vision", language), _stack("vision", vision)]
    return tuple(one for one in found if one is not None)


def _stack(name: str, config: Mapping[str, Any]) -> Stack | None:
    width = config.get("hidden_size")
    layers = config.get("num_hidden_layers") or config.get("depth")
    return Stack(name, width, layers) if width and layers else None


def image_settings(
    config: Mapping[str, Any], processor: Mapping[str, Any], given: Mapping[str, Any]
) -> ImageSettings | None:
    """Return what happens to images, by config.json, preprocessor_config.json and spec.model.processorKwargs."""
    vision = config.get("vision_config") or (config if "patch_size" in config else None)
    if vision is None:
        return None
    side = vision.get("image_size")
    size = {**(processor.get("size") or {}), **(given.get("size") or {})}
    pixels = size.get("longest_edge") or processor.get("max_pixels")
    return ImageSettings(
        pixels=pixels or (side**2 if isinstance(side, int) else _OWN_PIXELS),
        patch=vision.get("patch_size", 16),
        merge=vision.get("spatial_merge_size", 1),
        frames=vision.get("temporal_patch_size", 1),
    )


def trained_of(shapes: Mapping[str, tuple[int, ...]], *, lora: Lora | None, frozen: tuple[str, ...]) -> int:
    """Return how many numbers are trained, by the shapes of all weights."""
    if lora is not None:
        return sum(lora.rank * sum(shape) for shape in _adapted(shapes, lora))
    return sum(
        math.prod(shape)
        for name, shape in shapes.items()
        if not any(fnmatchcase(f"0.model.{name}", pattern) for pattern in frozen)
    )


def layers_of(shapes: Mapping[str, tuple[int, ...]], *, frozen: tuple[str, ...]) -> tuple[int, ...]:
    """Return how many numbers are trained in each layer of which there are many: `model.layers.0` and so on."""
    found: dict[str, dict[str, tuple[int, ...]]] = {}
    for name, shape in shapes.items():
        if layer := _LAYER.match(name):
            found.setdefault(layer[0], {})[name] = shape
    return tuple(trained_of(layer, lora=None, frozen=frozen) for layer in found.values())


def _adapted(shapes: Mapping[str, tuple[int, ...]], lora: Lora) -> Iterator[tuple[int, ...]]:
    """Yield the shapes of the matrices that get adapters; without names those of the language model."""
    matrix = 2
    for name, shape in shapes.items():
        layer = name.removesuffix(".weight")
        if len(shape) != matrix or layer == name:
            continue
        if lora.target_modules:
            if any(f".{layer}".endswith(f".{wanted}") for wanted in lora.target_modules):
                yield shape
        elif not any(part in layer for part in ("visual", "vision", "embed", "lm_head")):
            yield shape
