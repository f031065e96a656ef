"""Masks over the frames of video files, with PyAV (the extra ``video``).

klingmask shows what a good player shows: the same stream, the same frames, at the same times, in
the same shape, the same way up.

- The same stream: if a file has several videos, the default one; never a cover picture.
- The same frames, counted from 0 in the order of display. Not counted are frames that an edit list
  hides, as in a video that was cut without encoding it again, and frames at the start of a file
  that cannot be decoded.
- The same times, from 0. Where the clock of a recording jumps, the frames follow one another
  without the jump.
- The same shape. `frames` gives the pixels of the file, because masks go by pixels. If these are
  not square, `overlay_video` writes their shape to the result, and `contact_sheet` stretches them.
- The same way up. Frames are turned and mirrored as the file says.

The header of a file may be wrong about its streams and the number of its frames, so nothing relies
on it. A file that is not a video, or is damaged, raises a `VideoError`. If a result leaves out
something, such as transparency or masks of frames that are not there, there is a `VideoWarning`.
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
