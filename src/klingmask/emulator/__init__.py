"""Kling's Multi-Elements API on this machine, for demos and tests, without an account.

`running` starts it; real videos are segmented, followed and edited by classical
methods (see `vision`). Needs the extra ``emulator``.
"""

try:
    import cv2  # noqa: F401 - the one requirement that no other extra has
except ImportError as error:
    raise ImportError("the emulator needs OpenCV: pip install 'klingmask[emulator]'") from error

from klingmask.emulator.faults import Fault
from klingmask.emulator.server import Emulator, MadeTask, running

__all__ = ["Emulator", "Fault", "MadeTask", "running"]
