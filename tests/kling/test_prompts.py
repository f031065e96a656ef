"""Prompts after the templates of the reference."""

import doctest
from typing import Any

import pytest

from klingmask import kling
from klingmask.kling import checks, prompts
from tests.kling.samples import REMOVAL

CHINESE = "基于<<<video_1>>>中的原始内容,以自然生动的方式,将<<<image_1>>>中的【帽子】"


@pytest.mark.parametrize(
    ("prompt", "text"),
    [
        (prompts.removal("the chick"), REMOVAL),
        (prompts.removal("小鸡", language="zh"), "删除<<<video_1>>>中的【小鸡】"),
        (
            prompts.swap(old="[x]", new="[y]"),
            "swap [y] from <<<image_1>>> for [x] from <<<video_1>>>",
        ),
        (
            prompts.swap(new="猫", old="狗", language="zh"),
            "使用<<<image_1>>>中的【猫】,替换<<<video_1>>>中的【狗】",
        ),
        (
            prompts.addition("[x]"),
            "Using the context of <<<video_1>>>, seamlessly add [x] from <<<image_1>>>",
        ),
        (
            prompts.addition("[x]", "there"),
            "Using the context of <<<video_1>>>, seamlessly add [x] from <<<image_1>>> there",
        ),
        (
            prompts.addition("帽子", "头上", language="zh"),
            f"{CHINESE},融入<<<video_1>>>的【头上】",
        ),
        (
            prompts.addition(("帽子", "围巾"), language="zh"),
            f"{CHINESE}和<<<image_2>>>中的【围巾】,融入<<<video_1>>>的【画面】",
        ),
    ],
)
def test_the_reference_s_templates_filled_in(prompt: str, text: str) -> None:
    assert prompt == text


@pytest.mark.parametrize("language", ["en", "zh"])
def test_prompts_pass_the_checks(language: Any) -> None:
    two = prompts.addition(["a hat", "a scarf"], language=language)
    checks.prompts(prompts.removal("the chick", language=language), "", "removal", 0)
    checks.prompts(prompts.swap(old="the dog", new="a cat", language=language), "", "swap", 1)
    checks.prompts(prompts.addition("a hat", language=language), "", "addition", 1)
    checks.prompts(two, "", "addition", 2)


def test_a_swap_names_what_is_old_and_what_is_new() -> None:
    with pytest.raises(TypeError, match="positional"):
        prompts.swap("a cat", "the dog")  # type: ignore[call-arg]


@pytest.mark.parametrize("things", [[], ["a", "b", "c"]])
def test_an_addition_has_one_or_two_things(things: list[str]) -> None:
    with pytest.raises(kling.InvalidRequestError, match="1 or 2 images"):
        prompts.addition(things)


def test_other_languages_are_refused() -> None:
    with pytest.raises(ValueError, match="language"):
        prompts.removal("x", language="fr")  # type: ignore[arg-type]


def test_the_examples_are_true() -> None:
    failed, attempted = doctest.testmod(prompts)
    assert (failed, attempted) == (0, 6)
