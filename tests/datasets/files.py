"""One small file of each kind."""

RLE = {"size": [2, 3], "counts": "114"}
FRAME = {"frame_index": 5, "rle_mask_list": [{"object_id": 7, "rle_mask": RLE}]}
REPLY = {"code": 0, "message": "SUCCEED", "request_id": "x", "data": {"status": 0, "res": FRAME}}
RESULT = {"image_id": 42, "category_id": 18, "segmentation": RLE, "score": 0.5}
LABELS = {"image": 42, "category": 18, "score": 0.5}
SAV = {"video_frame_count": 7.0, "masklet_id": [4, 9], "masklet": [[RLE, None], [RLE, RLE]]}
