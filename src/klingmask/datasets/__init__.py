"""Files with masks in them: service replies, COCO, SA-1B and SA-V files, plain rles.

A file says more about a mask than its pixels: which frame, image or object the mask
belongs to. `read_masks` keeps this information beside the masks, as labels.

From the bytes of a file to `LabelledMasks` there are three steps: `documents` parses
the JSON, `kinds` recognises what it is and lists its masks, and `reading` decodes and
checks them. `tracking` writes such a file.
"""

from klingmask.datasets.labelled import LabelledMasks
from klingmask.datasets.reading import find_masks, read_masks
from klingmask.datasets.tracking import tracking_to_json

__all__ = ["LabelledMasks", "find_masks", "read_masks", "tracking_to_json"]
