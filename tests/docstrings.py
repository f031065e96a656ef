"""The docstrings of the extension, written into its stub: editors show those of the stub.

``python -m tests.docstrings`` writes them; a test says when that was forgotten.
"""

import ast
import inspect
import subprocess
import sys
import textwrap
from pathlib import Path

from klingmask import _rle

STUB = Path(__file__).parents[1] / "src" / "klingmask" / "_rle.pyi"


def _docstring(owner: object, name: str) -> str | None:
    """What the extension says of a name; nothing of private names and of what object says too."""
    found = inspect.getdoc(getattr(owner, name, None))
    inherited = [inspect.getdoc(getattr(cls, name, None)) for cls in (object, int)]
    if found is None or found in inherited:
        return None
    private = name.startswith("_") and not name.startswith("__")
    return None if private or name == "__init__" else found


def _head_ends(lines: list[str], node: ast.FunctionDef | ast.ClassDef) -> int:
    """The number of the line in which the head of a definition ends."""
    ends = (":", ": ...")
    return next(n for n in range(node.lineno, len(lines)) if lines[n - 1].endswith(ends))


def with_docstrings(stub: str) -> str:
    """The stub, with the docstrings that the extension has now."""
    lines = stub.splitlines()
    edits: list[tuple[int, int, list[str]]] = []
    seen: set[tuple[str, str]] = set()

    def visit(body: list[ast.stmt], owner: object, prefix: str) -> None:
        for node in body:
            if not isinstance(node, (ast.FunctionDef, ast.ClassDef)):
                continue
            if isinstance(node, ast.ClassDef):
                visit(node.body, getattr(owner, node.name), node.name)
            text = _docstring(owner, node.name)
            if text is None or (prefix, node.name) in seen:  # the first of several overloads has it
                continue
            seen.add((prefix, node.name))
            quotes = '\n"""' if "\n" in text else '"""'
            quoted = textwrap.indent(f'"""{text}{quotes}', " " * (node.col_offset + 4))
            start, end = node.lineno, _head_ends(lines, node)
            head = lines[start - 1 : end]
            head[-1] = head[-1].removesuffix(" ...")
            if ast.get_docstring(node) is not None:
                end = node.body[0].end_lineno or end
            edits.append((start - 1, end, [*head, *quoted.replace("\\", "\\\\").splitlines()]))

    visit(ast.parse(stub).body, _rle, "")
    for start, end, new in sorted(edits, reverse=True):
        lines[start:end] = new
    return "\n".join(lines) + "\n"


def formatted(stub: str) -> str:
    """As `ruff format` leaves it."""
    done = subprocess.run(
        [sys.executable, "-m", "ruff", "format", "--stdin-filename", str(STUB), "-"],
        input=stub,
        capture_output=True,
        text=True,
        check=True,
    )
    return done.stdout


if __name__ == "__main__":
    STUB.write_text(formatted(with_docstrings(STUB.read_text())))
