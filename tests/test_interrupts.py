"""Ctrl-C ends calls that take long, with one thread and with several.

Each call is made in a process of its own. Without Ctrl-C it would take minutes.
"""

import subprocess
import sys

import pytest

PREPARE = """
import os, signal, threading
import numpy as np
import klingmask as km

def repeated(height, gap):
    runs = np.tile(np.array([gap, 1], np.uint32), 10_000)
    size = [height, int(runs.sum()) // height]
    masks = km.MaskArray.from_rles([{"size": size, "counts": runs}])
    return masks[np.zeros(2500, int)]

# Comparing two of these masks takes 20 microseconds or more in each of the IoU methods.
by_columns, by_bits, by_runs = repeated(1, 39), repeated(40000, 39999), repeated(1, 4999)
image = np.zeros((2000, 2000, 3), np.uint8)
disc = km.Mask.from_bbox((2000, 2000), (1, 1, 1990, 1990))
threading.Timer(1, os.kill, (os.getpid(), signal.SIGINT)).start()
try:
    CALL
except KeyboardInterrupt:
    print("interrupted")
else:
    print("ended by itself")
"""


@pytest.mark.parametrize(
    "call",
    [
        "by_columns.iou(by_columns)",
        "by_columns.iou(by_columns, threads=2)",
        "by_bits.iou(by_bits)",
        "by_runs.iou(by_runs)",
        "km.overlay(image, [disc] * 300_000, outline=3)",
    ],
)
def test_a_long_call_answers_ctrl_c(call: str) -> None:
    done = subprocess.run(
        [sys.executable, "-c", PREPARE.replace("CALL", call)],
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert (done.stdout, done.stderr) == ("interrupted\n", "")
