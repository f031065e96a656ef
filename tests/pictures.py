"""How far two pictures are apart."""

import numpy as np
import numpy.typing as npt
from PIL import Image

Picture = npt.NDArray[np.uint8] | Image.Image


def worst_tile(a: Picture, b: Picture, side: int = 20) -> float:
    """The largest mean difference of a square tile of two pictures (h, w, channels).

    A mean over whole pictures hides a small thing that is missing; a single pixel says
    little where other builds of a codec round elsewhere.
    """
    difference = np.abs(np.asarray(a, int) - np.asarray(b, int)).mean(2)
    height, width = difference.shape
    return max(
        float(difference[top : top + side, left : left + side].mean())
        for top in range(0, height, side)
        for left in range(0, width, side)
    )
