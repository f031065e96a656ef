"""The prompts that the reference recommends, in English ("en") and Chinese ("zh")."""

from collections.abc import Sequence
from typing import Literal

from klingmask.kling.errors import InvalidRequestError

__all__ = ["addition", "removal", "swap"]

Language = Literal["en", "zh"]


def _chosen(language: str, english: str, chinese: str) -> str:
    if language not in ("en", "zh"):
        raise InvalidRequestError(f"language must be 'en' or 'zh', got {language!r}")
    return english if language == "en" else chinese


def addition(what: str | Sequence[str], where: str = "", *, language: Language = "en") -> str:
    """Return a prompt to add `what` to the video, at `where`.

    Parameters
    ----------
    what : str, or 1 or 2 of them
        What of the first image; of two, what of each image.
    where : str
        The place, as in "on the table" or "桌子上".
    language : {"en", "zh"}
    """
    things = [what] if isinstance(what, str) else list(what)
    if not 1 <= len(things) <= 2:
        raise InvalidRequestError(f"an addition takes 1 or 2 images, so as many texts, got {what}")
    english = " and ".join(
        f"{thing} from <<<image_{place}>>>" for place, thing in enumerate(things, 1)
    )
    chinese = "和".join(
        f"<<<image_{place}>>>中的【{thing}】" for place, thing in enumerate(things, 1)
    )
    return _chosen(
        language,
        f"Using the context of <<<video_1>>>, seamlessly add {english}{where and f' {where}'}",
        "基于<<<video_1>>>中的原始内容,以自然生动的方式,"
        f"将{chinese},融入<<<video_1>>>的【{where or '画面'}】",
    )


def swap(*, old: str, new: str, language: Language = "en") -> str:
    """Return a prompt to replace `old` in the video by `new` of the image.

    By name only: the service's own sentence has the new thing first ("swap a cat for
    the dog"), Python's ``str.replace`` and ``klingmask edit --swap`` the old one.

    Examples
    --------
    >>> from klingmask.kling import prompts
    >>> prompts.swap(old="the dog", new="a cat")
    'swap a cat from <<<image_1>>> for the dog from <<<video_1>>>'
    """
    return _chosen(
        language,
        f"swap {new} from <<<image_1>>> for {old} from <<<video_1>>>",
        f"使用<<<image_1>>>中的【{new}】,替换<<<video_1>>>中的【{old}】",
    )


def removal(what: str, *, language: Language = "en") -> str:
    """Return a prompt to delete `what` from the video."""
    return _chosen(
        language, f"Delete {what} from <<<video_1>>>", f"删除<<<video_1>>>中的【{what}】"
    )
