"""Writes the notebook beside every example script: `python examples/make_notebooks.py`.

A script is the source; a notebook has the same cells. In the script a line `# %%` begins a cell of code and
`# %% [markdown]` a cell of text. Notebooks are written without outputs, and the same script gives the same bytes.
"""

from __future__ import annotations

import re
from pathlib import Path

import nbformat

EXAMPLES = Path(__file__).resolve().parent
CELL = re.compile(r"^# %%(?P<text> \[markdown\])?\n", re.MULTILINE)


def notebook(script: str) -> str:
    """The notebook with the cells of a script, as JSON."""
    marks = list(CELL.finditer(script))
    ends = [mark.start() for mark in marks[1:]] + [len(script)]
    cells = []
    for i, (mark, end) in enumerate(zip(marks, ends, strict=True)):
        content = script[mark.end() : end].strip("\n")
        if mark["text"]:
            content = re.sub(r"^# ?", "", content, flags=re.MULTILINE)
        new = nbformat.v4.new_markdown_cell if mark["text"] else nbformat.v4.new_code_cell
        cells.append(new(content, id=f"cell-{i}"))
    kernel = {"kernelspec": {"display_name": "Python 3", "language": "python", "name": "python3"}}
    return nbformat.writes(nbformat.v4.new_notebook(cells=cells, metadata=kernel)) + "\n"


def scripts() -> list[Path]:
    """The example scripts: in a folder of their own, with the same name."""
    return [script for script in sorted(EXAMPLES.glob("*/*.py")) if script.stem == script.parent.name]


if __name__ == "__main__":
    for script in scripts():
        script.with_suffix(".ipynb").write_text(notebook(script.read_text(encoding="utf-8")), encoding="utf-8")
        print(script.with_suffix(".ipynb").relative_to(EXAMPLES))
