"""The format, read by its definition: slow, in exact integers, one step at a time.

An oracle for the codec. It shares no code and no idea with it: a text is
valid if it is the only shortest spelling of runs that fill the size.
"""

from typing import Any

import numpy as np
import numpy.typing as npt


def spell(number: int) -> str:
    """The shortest code of an integer: 5 bits a character, lowest first."""
    code = ""
    while True:
        group = number % 32
        number //= 32
        if number == (-1 if group >= 16 else 0):
            return code + chr(48 + group)
        code += chr(48 + 32 + group)


def runs_of_text(text: str) -> list[int] | None:
    """The runs that a text spells, or None if it spells none."""
    runs: list[int] = []
    while text:
        length = next((i + 1 for i, c in enumerate(text) if 48 <= ord(c) < 80), None)
        if length is None:
            return None
        code, text = text[:length], text[length:]
        if any(not 48 <= ord(character) <= 111 for character in code):
            return None
        groups = [(ord(character) - 48) % 32 for character in code]
        number = sum(group * 32**i for i, group in enumerate(groups))
        if groups[-1] >= 16:
            number -= 32 ** len(groups)
        if spell(number) != code:
            return None
        runs.append(number + (runs[-2] if len(runs) > 2 else 0))
        if runs[-1] < 0:
            return None
    return runs


def decode(rle: dict[str, Any]) -> npt.NDArray[np.uint8] | None:
    """The pixels of an rle, or None if it is not well-formed."""
    height, width = rle["size"]
    runs = runs_of_text(rle["counts"])
    if runs is None or sum(runs) != height * width:
        return None
    pixels = [index % 2 for index, run in enumerate(runs) for _ in range(run)]
    return np.array(pixels, np.uint8).reshape(width, height).T


def encode(mask: npt.NDArray[Any]) -> str:
    """The canonical text of a mask."""
    runs = [0]
    for pixel in (mask.T != 0).ravel().tolist():
        if pixel != (len(runs) - 1) % 2:
            runs.append(0)
        runs[-1] += 1
    deltas = [run - (runs[i - 2] if i > 2 else 0) for i, run in enumerate(runs)]
    return "".join(spell(delta) for delta in deltas)
