"""The examples in the docstrings are run."""

import doctest
import importlib
from typing import Any

import pytest

import klingmask
from klingmask import datasets


@pytest.mark.parametrize(
    ("module", "least"),
    [
        ("cli.advice", 1),
        ("datasets.descriptions", 2),
        ("datasets.labelled", 8),
        ("datasets.reading", 2),
        ("datasets.tracking", 2),
        ("overlay", 13),
    ],
)
def test_the_examples_of(module: str, least: int) -> None:
    names: dict[str, Any] = {"klingmask": klingmask, "find_masks": datasets.find_masks}
    found = importlib.import_module(f"klingmask.{module}")
    done = doctest.testmod(found, extraglobs=names)
    assert done.failed == 0
    assert done.attempted >= least
