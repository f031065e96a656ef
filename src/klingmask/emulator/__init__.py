"""Kling's Multi-Elements API on this machine, for demos and tests, without an account.

`running` starts it. Things in real videos are selected, followed and removed by classical
methods (see `vision`), not by the service's models. Needs the extra ``emulator``.

Examples
--------
>>> from klingmask.emulator import running
>>> from klingmask.kling import KlingClient
>>> with running() as emulator:
...     with KlingClient(emulator.api_key, base_url=emulator.base_url) as client:
...         client.list_tasks()
[]
"""

try:
    import cv2  # noqa: F401 - no other extra brings it
except ImportError as error:
    raise ImportError("the emulator needs OpenCV: pip install 'klingmask[emulator]'") from error

from klingmask.emulator.faults import Fault
from klingmask.emulator.server import Emulator, MadeTask, running

__all__ = ["Emulator", "Fault", "MadeTask", "running"]
