"""The command line, run as people run it: a process, files, pipes."""

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import klingmask as km
from tests.clips import greys, make_clip

A = km.Mask.from_bbox((20, 30), (2, 3, 10, 5))
B = km.Mask.from_bbox((20, 30), (8, 6, 10, 12))
REPLY = {
    "code": 0,
    "data": {
        "res": {
            "frame_index": 3,
            "rle_mask_list": [
                {"object_id": key, "rle_mask": mask.to_rle()} for key, mask in ((0, A), (4, B))
            ],
        }
    },
}


class Shell:
    def __init__(self, folder: Path) -> None:
        self.folder = folder

    command = str(Path(sys.executable).parent / "klingmask")

    def run(self, *words: str, **options: Any) -> subprocess.CompletedProcess[bytes]:
        return subprocess.run(
            [self.command, *words],
            cwd=self.folder,
            check=False,
            **{"stdout": subprocess.PIPE, "stderr": subprocess.PIPE, **options},
        )

    def __call__(self, *words: str, stdin: bytes = b"", fails: bool = False) -> str:
        done = self.run(*words, input=stdin)
        assert (done.returncode != 0) == fails, done.stderr.decode()
        assert b"Traceback" not in done.stderr
        assert b"\r" not in done.stderr, "a progress bar, and nobody is there to see it"
        return (done.stderr if fails else done.stdout).decode()

    def errors(self, *words: str) -> str:
        """What a command that succeeds says beside its result."""
        done = self.run(*words)
        assert done.returncode == 0, done.stderr.decode()
        return done.stderr.decode()

    def put(self, name: str, document: object) -> str:
        (self.folder / name).write_text(json.dumps(document))
        return name


def make_clip_of_a_square(path: Path) -> None:
    pictures = greys([90] * 48, (720, 720))
    for place, picture in enumerate(pictures):
        picture[300:420, 300 + 2 * place : 420 + 2 * place] = 220, 30, 40
    make_clip(path, pictures, rate=24)


SQUARE = ("--at", "360,360", "--remove", "the square")
"""What removes the square of that clip."""
