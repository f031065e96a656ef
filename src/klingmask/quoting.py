"""Text that somebody else wrote (keys, labels, file names), as messages show it.

Such text may be of any length, and may hold what a terminal takes for commands:
control characters, escape sequences, marks that turn the direction of writing.
"""

import reprlib
from collections.abc import Iterable

__all__ = ["listed", "printable", "quoted"]

MOST_SHOWN = 8  # values of a list

_SHORT = reprlib.Repr()
_SHORT.maxstring = _SHORT.maxother = 60  # characters
_SHORT.maxlong = 40  # digits
_SHORT.maxlevel = 2


def printable(text: str) -> str:
    r"""Return the text with every character that is not printable as an escape, like ``\x1b``."""
    if text.isprintable():
        return text
    return "".join(
        character if character.isprintable() else character.encode("unicode_escape").decode()
        for character in text
    )


def quoted(value: object) -> str:
    """Return the repr of a value: one line, printable, not long.

    It never raises, whatever the value is.
    """
    try:
        return printable(_SHORT.repr(value))
    except (ValueError, RecursionError):  # an integer of more digits than Python writes
        return f"<{type(value).__name__}>"


def listed(values: Iterable[object]) -> str:
    """Return the reprs of the first values, and how many there are if these are not all."""
    every = list(values)
    shown = ", ".join(map(quoted, every[:MOST_SHOWN]))
    return f"{shown}, ... ({len(every)} in all)" if len(every) > MOST_SHOWN else shown
