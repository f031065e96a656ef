"""Masks over the frames of video files, by PyAV (the extra ``video``).

klingmask shows what a good player shows: the same stream, the same frames, at the same times, in
the same shape, the same way up.

- *The same stream.* Of several videos in a file, the one that is there by default; never a cover
  picture.
- *The same frames.* They are counted from 0 in the order of display. What the file keeps but does
  not show, as before the first frame of a video that was cut without encoding it anew, is not
  counted, nor is what cannot be decoded before the first frame.
- *At the same times.* They begin at 0, and go on evenly where the file's clock jumps.
- *In the same shape.* `frames` gives the pixels of the file, for masks go by pixels; where these
  are not square, `overlay_video` says so in what it writes, and `contact_sheet` stretches them.
- *The same way up.* A frame that the file says is to be turned or mirrored is turned and mirrored.

What the header of a file says of its streams and of the number of frames is never relied on. Of a
file that is no video, or is damaged, there is a `VideoError`. What a result does not show, as
transparency, or masks of frames that are not there, is said in a `VideoWarning`.
"""

from klingmask.video.errors import VideoError, VideoWarning
from klingmask.video.overlay import Tracking, overlay_video
from klingmask.video.reading import frame_at, frames
from klingmask.video.sheet import contact_sheet
from klingmask.video.writing import map_video

__all__ = [
    "Tracking",
    "VideoError",
    "VideoWarning",
    "contact_sheet",
    "frame_at",
    "frames",
    "map_video",
    "overlay_video",
]
