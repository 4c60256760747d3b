"""The pictures: written, with 汉字 where a font has them, in English where none has."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from huohou.errors import UserError
from huohou.language import choose_language
from huohou.report import png
from huohou.report.runs import load_runs

pytest.importorskip("matplotlib")

PNG = b"\x89PNG\r\n\x1a\n"


@pytest.fixture
def two(build: Any) -> Any:
    return load_runs([build("甲", updates=60), build("b", name=r"$\nothing{$ _b", updates=60, warmup=0, harm=1.0)])


def test_every_figure_becomes_a_file(two: Any, tmp_path: Path) -> None:
    written = png.write(two, tmp_path / "new" / "folder")
    names = [path.name for path in written.files]
    assert names == [
        f"{n}.png" for n in ("rate", "loss", "early_loss", "gradient_norm", "layers", "dispersion", "throughput")
    ]
    assert all(path.read_bytes().startswith(PNG) for path in written.files)


def test_without_a_font_that_has_chinese_characters_none_is_drawn(two: Any, tmp_path: Path, monkeypatch: Any) -> None:
    """A missing glyph is a warning of matplotlib, and a warning is an error in these tests."""
    monkeypatch.setattr(png, "_FONTS", ())
    choose_language("zh")
    written = png.write(two, tmp_path)
    assert written.note is not None and "Noto Sans CJK SC" in written.note.zh
    assert len(written.files) == 7


def test_chinese_is_drawn_where_a_font_has_it(two: Any, tmp_path: Path) -> None:
    if png.chinese_font() is None:
        pytest.skip("no installed font has Chinese characters")
    choose_language("zh")
    assert png.write(two, tmp_path).note is None


def test_a_folder_that_cannot_be_written_is_one_sentence(two: Any, tmp_path: Path) -> None:
    (tmp_path / "file").write_text("", encoding="utf-8")
    with pytest.raises(UserError, match="cannot be written"):
        png.write(two, tmp_path / "file")
