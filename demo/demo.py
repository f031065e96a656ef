"""The main job in one page: a service reply in, measures and a picture out."""

import base64
import json
from pathlib import Path

import numpy as np
from PIL import Image

import klingmask as km

HERE = Path(__file__).parent


def main() -> None:
    """Decode, measure, unite and overlay the masks of reply.json."""
    reply = json.loads((HERE / "reply.json").read_text())
    found = reply["data"]["res"]["rle_mask_list"]
    masks = {entry["object_id"]: km.Mask.from_rle(entry["rle_mask"]) for entry in found}

    print("object  size        area    bbox (x, y, w, h)")
    for key, mask in masks.items():
        print(f"{key:>6}  {mask.size!s:<10}  {mask.area:>6}  {mask.bbox}")
    for entry in found:  # the service sends each mask twice; both must agree
        png = km.Mask.from_png(base64.b64decode(entry["png_mask"]["base64"]))
        if png != masks[entry["object_id"]]:
            raise SystemExit(f"object {entry['object_id']}: its PNG is another mask")

    everything = km.MaskArray.from_rles(masks.values()).union()
    share = everything.area / (everything.size[0] * everything.size[1])
    print(f"together: {everything.area} pixels, {share:.1%} of the picture, {everything.bbox}")
    print(f"as text:  {len(everything.counts)} bytes of counts")

    with Image.open(HERE / "scene.png") as scene:
        picture = np.asarray(scene.convert("RGB"))
    output = HERE / "out" / "overlay.png"
    output.parent.mkdir(exist_ok=True)
    Image.fromarray(km.overlay(picture, masks, outline=2)).save(output, optimize=True)
    print(f"overlay:  {output}")


if __name__ == "__main__":
    main()
