"""Masks over the frames of video files, by PyAV (the extra ``video``).

Frames are counted from 0 in the order of display and stand upright: a phone's
video, whose file says that it is to be turned, is turned.
"""

from klingmask.video.overlay import Tracking, overlay_video
from klingmask.video.reading import frame_at, frames
from klingmask.video.sheet import contact_sheet
from klingmask.video.writing import map_video

__all__ = ["Tracking", "contact_sheet", "frame_at", "frames", "map_video", "overlay_video"]
