"""The ladder and the examples, run as the programs that they are."""

from __future__ import annotations

import runpy
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
LADDER = sorted((ROOT / "docs" / "ladder").glob("*.py"))
EXAMPLES = sorted((ROOT / "python" / "examples").glob("*.py"))


def test_the_ladder_has_ten_pages_and_lists_them() -> None:
    listed = (ROOT / "docs" / "ladder" / "README.md").read_text(encoding="utf-8")
    assert [path.name[:2] for path in LADDER] == [f"{number:02}" for number in range(1, 11)]
    assert all(f"({path.name})" in listed for path in LADDER)


@pytest.mark.parametrize("path", LADDER, ids=lambda path: path.stem)
def test_pages_of_the_ladder_run(path: Path) -> None:
    """Cells are those that jupytext and editors see: a page of text first, code in between, tasks at the end."""
    text = path.read_text(encoding="utf-8")
    cells = text.split("# %%")[1:]
    assert text.startswith("# %% [markdown]\n# # ") and len(cells) >= 4
    for cell in cells:
        if cell.startswith(" [markdown]\n"):
            assert all(line.startswith("#") or not line for line in cell.splitlines()[1:])
        else:
            compile(cell, path.name, "exec")
    assert cells[-1].startswith(" [markdown]") and "## Try it" in cells[-1]
    runpy.run_path(str(path), run_name="__main__")


@pytest.mark.parametrize("path", EXAMPLES, ids=lambda path: path.stem)
def test_examples_run(path: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]) -> None:
    if "import torch" in path.read_text(encoding="utf-8"):
        pytest.importorskip("torch", reason="there is no torch here")
    monkeypatch.setattr(sys, "argv", [str(path)])
    runpy.run_path(str(path), run_name="__main__")
    assert capfd.readouterr().out


@pytest.mark.parametrize("page", ["docs/python.md", "python/README.md"])
def test_code_of_the_pages_runs(page: str) -> None:
    blocks = (ROOT / page).read_text(encoding="utf-8").split("```python\n")[1:]
    assert blocks
    names: dict[str, object] = {}
    for block in blocks:
        exec(compile(block.split("```")[0], page, "exec"), names)
