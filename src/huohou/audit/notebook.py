"""A notebook's code cells: what goes to Python, and what goes to a shell (``!torchrun …``, ``%%bash``)."""

from __future__ import annotations

import ast
import json
import re
from dataclasses import dataclass
from typing import Any

_MAGIC = re.compile(r"\s*%%(bash|sh|script\s+(?:ba)?sh|system|sx)\b")


@dataclass(frozen=True, slots=True)
class Cells:
    """The code of a notebook twice, line for line alike: what is not of its kind is empty, or a comment in Python."""

    python: str
    shell: str


def read_cells(text: str) -> Cells | None:
    """The code cells one after another; ``None`` where the text is no notebook.

    A cell that is no Python on its own goes to the shell's side, so that the others can be read.
    """
    try:
        cells: Any = json.loads(text)["cells"]
        sources = [
            "".join(cell["source"]) if isinstance(cell["source"], list) else str(cell["source"])
            for cell in cells
            if cell.get("cell_type") == "code"
        ]
    except (ValueError, KeyError, TypeError, AttributeError, RecursionError):
        return None
    python: list[str] = []
    shell: list[str] = []
    for source in sources:
        own, other = _split(source.split("\n"))
        python += own
        shell += other
    return Cells("\n".join(python), "\n".join(shell))


def _split(lines: list[str]) -> tuple[list[str], list[str]]:
    """One cell's lines for Python and those for the shell."""
    if lines and _MAGIC.match(lines[0]):
        return ["#"] * len(lines), ["", *lines[1:]]
    if lines and lines[0].lstrip().startswith("%%") and not lines[0].lstrip().startswith(("%%time", "%%capture")):
        # %%writefile and the like: the cell is neither.
        return ["#"] * len(lines), [""] * len(lines)
    python: list[str] = []
    shell: list[str] = []
    goes_on = False
    for line in lines:
        start = line.lstrip()
        own = goes_on or start.startswith(("!", "%sx", "%system"))
        magic = start.startswith("%") or own
        python.append("#" if magic else line)
        shell.append((line if goes_on else re.sub(r"^\s*(?:!+|%sx|%system)", "", line)) if own else "")
        goes_on = own and line.rstrip().endswith("\\")
    try:
        ast.parse("\n".join(python))
    except (SyntaxError, ValueError, RecursionError, MemoryError):
        # A cell of another kernel's: a command written as it is.
        return ["#"] * len(lines), lines
    return python, shell
