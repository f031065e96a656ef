"""Messages of the library, for users who have options instead of Python."""

import re

__all__ = ["in_options"]

_REPLACEMENTS = tuple(
    (re.compile(python), options)
    for python, options in (
        (
            r"raise the limit with klingmask\.set_max_pixels\(\)(, or decode .* with out=)?",
            "raise the limit: klingmask --max-pixels N ...",
        ),
        (r"klingmask\.set_max_pixels\(\) raises it", "klingmask --max-pixels N ... raises it"),
        (r"; None lifts it", ""),
        (r"; mask\.resize\(.*?\) would fit it", ""),
        (r"; strict=False would .*", ""),
        (r"; pass its 'rle_mask'", ""),
        (r"; pycocotools' COCO.annToRLE .*", ""),
        (r"\bwhere\((\w+)=(.*)\)", r"--where \1=\2"),
        (r"frame_index goes", "--frame goes"),
        (r"start a new one with edit_video\(\)", "run the command again"),
        (
            r"ask get_task\(external_task_id=(.*)\) before you create it again",
            r"look for it with `klingmask task \1` before you run the command again",
        ),
        (r", or raise the client's (timeout|retry_for)", ""),
    )
)
"""Advice in Python, and the same advice in options, or nothing."""


def in_options(error: BaseException) -> str:
    """Return the message of an error, with advice in options instead of Python.

    Examples
    --------
    >>> in_options(ValueError("there are two images; choose one, as where(image=7)"))
    'there are two images; choose one, as --where image=7'
    """
    if isinstance(error, OSError) and error.filename and error.strerror:
        return f"{error.filename}: {error.strerror}"
    text = str(error) or type(error).__name__
    for python, options in _REPLACEMENTS:
        text = python.sub(options, text)
    return text
