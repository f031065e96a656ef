"""The examples in the docstrings are run."""

import doctest
import importlib
from typing import Any

import pytest

import klingmask
from klingmask import datasets


@pytest.mark.parametrize(
    ("module", "least"),
    [("labelled", 8), ("reading", 2), ("tracking", 2), ("descriptions", 2)],
)
def test_the_examples_of(module: str, least: int) -> None:
    names: dict[str, Any] = {"klingmask": klingmask, "find_masks": datasets.find_masks}
    found = importlib.import_module(f"klingmask.datasets.{module}")
    done = doctest.testmod(found, extraglobs=names)
    assert done.failed == 0
    assert done.attempted >= least
