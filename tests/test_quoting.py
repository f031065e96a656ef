"""Text of others as messages show it: short, on one line, without commands to a terminal."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from klingmask.quoting import listed, printable, quoted


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("plain, é, 掩", "plain, é, 掩"),
        ("\x1b[2J", r"\x1b[2J"),
        ("\r\n\t\0\x7f", r"\r\n\t\x00\x7f"),
        ("\x9b1m", r"\x9b1m"),
        ("\u202e\u2066\u200b\u2028", r"\u202e\u2066\u200b\u2028"),
        ("\ud800", r"\ud800"),
        ("\U000e0041", r"\U000e0041"),
    ],
)
def test_what_is_not_printable_is_escaped(text: str, shown: str) -> None:
    assert printable(text) == shown


@given(st.text(st.characters()))
def test_any_text_becomes_printable(text: str) -> None:
    assert printable(text).isprintable()
    assert printable(printable(text)) == printable(text)


@pytest.mark.parametrize(
    ("value", "shown"),
    [
        ("a", "'a'"),
        (18, "18"),
        (0.5, "0.5"),
        (None, "None"),
        ([1, {"a": "\x1b"}], r"[1, {'a': '\x1b'}]"),
        ("x" * 100, f"'{'x' * 27}...{'x' * 28}'"),
    ],
)
def test_a_value_is_quoted(value: object, shown: str) -> None:
    assert quoted(value) == shown


def test_values_that_python_does_not_write() -> None:
    assert quoted(10**5000) == "<int>"
    assert quoted([10**5000]) == "<list>"
    deep: list[object] = []
    for _ in range(10_000):
        deep = [deep]
    assert quoted(deep) == "[[[...]]]"


def test_a_list_is_cut_and_counted() -> None:
    assert listed([]) == ""
    assert listed(range(8)) == "0, 1, 2, 3, 4, 5, 6, 7"
    assert listed("abcdefghi") == "'a', 'b', 'c', 'd', 'e', 'f', 'g', 'h', ... (9 in all)"
