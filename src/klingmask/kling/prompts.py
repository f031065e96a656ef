"""Prompts after the templates of the reference, in English ("en") and Chinese ("zh")."""

from collections.abc import Sequence
from typing import Literal

from klingmask.kling.errors import InvalidRequestError

__all__ = ["addition", "removal", "swap"]

Language = Literal["en", "zh"]


def _in_language(language: str, english: str, chinese: str) -> str:
    if language not in ("en", "zh"):
        raise InvalidRequestError(f"language must be 'en' or 'zh', got {language!r}")
    return english if language == "en" else chinese


def addition(what: str | Sequence[str], where: str = "", *, language: Language = "en") -> str:
    """Return a prompt to add something to the video.

    Parameters
    ----------
    what : str, or a sequence of 1 or 2 str
        The thing in the first image, or the things in the first and the second.
    where : str
        The place in the video, such as "on the table" or "桌子上".
    language : {"en", "zh"}

    Examples
    --------
    >>> from klingmask.kling import prompts
    >>> prompts.addition("a hat", "on the dog")
    'Using the context of <<<video_1>>>, seamlessly add a hat from <<<image_1>>> on the dog'
    """
    things = [what] if isinstance(what, str) else list(what)
    if not 1 <= len(things) <= 2:
        raise InvalidRequestError(
            f"an addition takes 1 or 2 images, and a text for each, got {what}"
        )
    english = " and ".join(
        f"{thing} from <<<image_{place}>>>" for place, thing in enumerate(things, 1)
    )
    chinese = "和".join(
        f"<<<image_{place}>>>中的【{thing}】" for place, thing in enumerate(things, 1)
    )
    return _in_language(
        language,
        f"Using the context of <<<video_1>>>, seamlessly add {english}{where and f' {where}'}",
        "基于<<<video_1>>>中的原始内容,以自然生动的方式,"
        f"将{chinese},融入<<<video_1>>>的【{where or '画面'}】",
    )


def swap(*, old: str, new: str, language: Language = "en") -> str:
    """Return a prompt to replace something in the video.

    Both parameters must be given by name, because both orders are in use: the service's
    own sentence names the new thing first, ``klingmask edit --swap`` the old one.

    Parameters
    ----------
    old : str
        The thing in the video.
    new : str
        The thing in the image.
    language : {"en", "zh"}

    Examples
    --------
    >>> from klingmask.kling import prompts
    >>> prompts.swap(old="the dog", new="a cat")
    'swap a cat from <<<image_1>>> for the dog from <<<video_1>>>'
    """
    return _in_language(
        language,
        f"swap {new} from <<<image_1>>> for {old} from <<<video_1>>>",
        f"使用<<<image_1>>>中的【{new}】,替换<<<video_1>>>中的【{old}】",
    )


def removal(what: str, *, language: Language = "en") -> str:
    """Return a prompt to delete something from the video.

    Examples
    --------
    >>> from klingmask.kling import prompts
    >>> prompts.removal("the chick")
    'Delete the chick from <<<video_1>>>'
    """
    return _in_language(
        language, f"Delete {what} from <<<video_1>>>", f"删除<<<video_1>>>中的【{what}】"
    )
