"""Images as the model gets them: upright, in RGB, 8 bits per channel."""

import numpy as np
from PIL import Image, ImageOps

_BITS_16 = 65_535
_BITS_8 = 255


def as_seen(image: Image.Image) -> Image.Image:
    """Return an open image in RGB and the right way up: a camera stores pixels as it was held, and says how.

    The datasets library does the same, so that scripts train on upright images, too.
    """
    ImageOps.exif_transpose(image, in_place=True)
    if image.mode.startswith(("I", "F")):
        image = _with_8_bits(image)
    image.load()  # the file may be closed then
    return image if image.mode == "RGB" else image.convert("RGB")


def _with_8_bits(image: Image.Image) -> Image.Image:
    """Return an image of wider grey values with 8 bits; Pillow would cut off what is above 255.

    Values of 16 bits are divided by 257, as PNG and TIFF say. What is wider says nothing of its range: floats from 0 to
    1, values of 8 and of 16 bits are taken for what they are, any others are stretched to their own least and most.
    """
    values = np.nan_to_num(np.asarray(image, dtype=np.float64), posinf=0, neginf=0)
    least, most = float(values.min()), float(values.max())
    if image.mode.startswith("I;16") or (least >= 0 and image.mode == "I" and _BITS_8 < most <= _BITS_16):
        least, most = 0, _BITS_16
    elif least >= 0 and image.mode == "F" and most <= 1:
        least, most = 0, 1
    elif least >= 0 and most <= _BITS_8:
        least, most = 0, _BITS_8
    scaled = (values - least) * (_BITS_8 / max(most - least, 1e-9))
    return Image.fromarray(np.rint(scaled).astype(np.uint8))
