"""The prompts that the reference recommends, in English ("en") and Chinese ("zh")."""

from typing import Literal

__all__ = ["addition", "removal", "swap"]

Language = Literal["en", "zh"]


def _chosen(language: str, english: str, chinese: str) -> str:
    if language not in ("en", "zh"):
        raise ValueError(f"language must be 'en' or 'zh', got {language!r}")
    return english if language == "en" else chinese


def addition(what: str, where: str = "", *, language: Language = "en") -> str:
    """Return a prompt to add `what` of the first image to the video, at `where`."""
    place = f" {where}" if where else ""
    return _chosen(
        language,
        f"Using the context of <<<video_1>>>, seamlessly add {what} from <<<image_1>>>{place}",
        "基于<<<video_1>>>中的原始内容，以自然生动的方式，"  # noqa: RUF001
        f"将<<<image_1>>>中的【{what}】，融入<<<video_1>>>的【{where or '画面'}】",  # noqa: RUF001
    )


def swap(new: str, old: str, *, language: Language = "en") -> str:
    """Return a prompt to put `new` of the image in the place of `old` in the video."""
    return _chosen(
        language,
        f"swap {new} from <<<image_1>>> for {old} from <<<video_1>>>",
        f"使用<<<image_1>>>中的【{new}】，替换<<<video_1>>>中的【{old}】",  # noqa: RUF001
    )


def removal(what: str, *, language: Language = "en") -> str:
    """Return a prompt to delete `what` from the video."""
    return _chosen(
        language, f"Delete {what} from <<<video_1>>>", f"删除<<<video_1>>>中的【{what}】"
    )
