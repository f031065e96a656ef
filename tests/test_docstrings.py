"""The docstrings of the extension: examples that hold, and a stub that says the same."""

import doctest
import inspect
from collections.abc import Iterator

import pytest

import klingmask
from klingmask import Mask, MaskArray, RLEError, _rle
from tests.docstrings import STUB, formatted, with_docstrings


def documented() -> Iterator[tuple[str, str]]:
    """The public names of the extension, and the public methods of its types, with docstrings."""
    for name in sorted(set(klingmask.__all__) & set(vars(_rle))):
        yield name, inspect.getdoc(getattr(_rle, name)) or ""
    for cls in (Mask, MaskArray):
        for name in vars(cls):
            if not name.startswith("_"):
                yield f"{cls.__name__}.{name}", inspect.getdoc(getattr(cls, name)) or ""


DOCUMENTED = dict(documented())


@pytest.mark.parametrize("name", DOCUMENTED)
def test_the_example_holds(name: str) -> None:
    owner, _, attribute = name.rpartition(".")
    member = vars(getattr(_rle, owner) if owner else _rle)[attribute]
    test = doctest.DocTestParser().get_doctest(
        DOCUMENTED[name], {"klingmask": klingmask}, name, None, None
    )
    if inspect.isgetsetdescriptor(member):
        assert DOCUMENTED[name]
    else:
        assert test.examples, f"{name} has no example"
    report: list[str] = []
    doctest.DocTestRunner(verbose=False).run(test, out=report.append)
    assert report == []


def test_the_stub_has_the_docstrings() -> None:
    """`python -m tests.docstrings` writes them."""
    assert formatted(with_docstrings(STUB.read_text())) == STUB.read_text()


def test_names_are_found() -> None:
    assert {"Mask", "decode", "Mask.resize", "MaskArray.concatenate"} <= set(DOCUMENTED)
    assert RLEError.__doc__
