"""The main job in one page: click, see the mask, preview, edit, get the video.

No account is needed: the service is klingmask's emulator, on this machine. With
the keys of a real account, only the client's first line would change.
"""

import sys
from pathlib import Path

import numpy as np
from draw import clip
from PIL import Image

from klingmask import overlay
from klingmask.datasets import tracking_to_json
from klingmask.emulator import running
from klingmask.kling import KlingClient, prompts
from klingmask.video import contact_sheet, frame_at

OUT = Path(__file__).parent / "out"
FRAME = 12
# Body, wing, head, beak and tail.
CLICKS = [(427, 560), (412, 530), (495, 440), (575, 449), (300, 496)]


def main() -> None:
    """Remove a bird from a clip, and keep what each step gives."""
    OUT.mkdir(exist_ok=True)
    source = OUT / "clip.mp4"
    clip(source)
    print(f"clip:     {source}")

    with (
        running(OUT) as emulator,
        KlingClient(emulator.api_key, base_url=emulator.base_url) as client,
    ):
        edit = client.edit_video(video_url=emulator.url_of(source))
        selection = edit.add_selection(FRAME, [edit.point(x, y) for x, y in CLICKS])
        mask = selection.union
        print(f"selected: on frame {FRAME}, {mask.area} pixels, box {mask.bbox}")
        (OUT / "mask.png").write_bytes(mask.to_png())
        laid = overlay(frame_at(source, FRAME), {0: mask}, outline=3)
        Image.fromarray(laid).save(OUT / "overlay.png")
        print(f"overlay:  {OUT / 'overlay.png'}")

        preview = edit.preview()
        tracking = preview.tracking()
        preview.download(OUT / "preview.mp4")
        print(f"tracked:  {OUT / 'preview.mp4'}")
        (OUT / "tracking.json").write_text(tracking_to_json(tracking))
        print(f"masks:    {OUT / 'tracking.json'}, of {len(tracking)} frames")

        task = edit.submit("removal", prompts.removal("the yellow bird"))
        task.wait(progress=sys.stderr.isatty()).download(OUT / "removed.mp4")
        print(f"removed:  {OUT / 'removed.mp4'}")

    rows = [
        contact_sheet(source, columns=4, rows=1, width=1280),
        contact_sheet(source, tracking, columns=4, rows=1, width=1280, outline=4),
        contact_sheet(OUT / "removed.mp4", columns=4, rows=1, width=1280),
    ]
    Image.fromarray(np.concatenate(rows)).save(OUT / "sheet.png", optimize=True)
    print(f"all of it in one picture to open: {OUT / 'sheet.png'}")


if __name__ == "__main__":
    main()
