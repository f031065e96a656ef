"""What several tests send and get: a click, a prompt, pictures, replies."""

import base64
import json
from io import BytesIO
from typing import Any

import numpy as np
from PIL import Image

import klingmask as km
from klingmask.kling.transport import TimeLimits
from tests.kling.server import Fault

POINT = (0.5, 0.25)
REMOVAL = "Delete the chick from <<<video_1>>>"
SHORT = TimeLimits((1.0, 1.0), 0.2)


def replying(data: Any = None, /, **fields: Any) -> Fault:
    """A reply with that data, or with data of those fields; the work is done all the same."""
    body = {"code": 0, "data": fields or data}
    return Fault(200, body=json.dumps(body).encode(), works=True)


def png(width: int, height: int) -> bytes:
    """A PNG of that size."""
    return _picture(width, height, "PNG")


def jpeg(width: int, height: int) -> bytes:
    """A JPEG of that size."""
    return _picture(width, height, "JPEG")


def _picture(width: int, height: int, kind: str) -> bytes:
    stream = BytesIO()
    Image.fromarray(np.zeros((height, width, 3), np.uint8)).save(stream, kind)
    return stream.getvalue()


def png_base64(mask: km.Mask) -> str:
    """A mask's PNG as a reply has it."""
    return base64.b64encode(mask.to_png()).decode()
