"""The public interface: what it exports, and that the examples in its documentation are true."""

from __future__ import annotations

import doctest
import importlib
import pkgutil
from pathlib import Path

import pytest

import huohou

DOCS = Path(__file__).resolve().parents[1] / "docs"
NAMES = [m.name for m in pkgutil.walk_packages(huohou.__path__, "huohou.") if "__main__" not in m.name]
WITH_EXAMPLES = [
    name
    for name in ["huohou", *NAMES]
    if ">>> " in Path(str(importlib.util.find_spec(name).origin)).read_text(encoding="utf-8")  # pyright: ignore
]


@pytest.mark.parametrize("name", WITH_EXAMPLES)
def test_examples_in_docstrings(name: str) -> None:
    result = doctest.testmod(importlib.import_module(name))
    assert result.attempted and not result.failed


@pytest.mark.parametrize("page", sorted(DOCS.rglob("*.md")), ids=lambda page: str(page.relative_to(DOCS)))
def test_examples_in_the_documentation(page: Path) -> None:
    result = doctest.testfile(str(page), module_relative=False, encoding="utf-8")
    assert not result.failed


def test_the_api_page_has_examples() -> None:
    for page in (DOCS / "api.md", DOCS / "zh" / "api.md"):
        assert page.read_text(encoding="utf-8").count(">>> ") >= 10


@pytest.mark.parametrize("name", huohou.__all__)
def test_everything_public_exists_and_is_explained(name: str) -> None:
    assert getattr(huohou, name).__doc__


def test_what_does_not_exist_says_so() -> None:
    with pytest.raises(AttributeError, match="nothing"):
        _ = huohou.nothing  # pyright: ignore
