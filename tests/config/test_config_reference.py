"""The reference page is what the models say, in both languages, about every key."""

from __future__ import annotations

from pathlib import Path

import pytest

from huohou.config.aliases import ALIASES
from huohou.config.data import Embedded, MixSource
from huohou.config.groups import PARTS, Group
from huohou.config.reference import PAGES, main, page
from huohou.config.run import RunConfig
from huohou.config.section import keys_of, kind_of
from huohou.config.sections import SECTIONS, TOP
from huohou.language import Language

DOCUMENTATION = Path(__file__).resolve().parents[2] / "docs"


@pytest.mark.parametrize("language", PAGES)
def test_the_page_is_up_to_date(language: Language) -> None:
    path = DOCUMENTATION / PAGES[language]
    assert path.read_text(encoding="utf-8") == page(language), "run python -m huohou.config.reference docs/"


def test_the_pages_are_written(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main([str(tmp_path)]) == 0
    assert (tmp_path / "zh" / "config.md").read_text(encoding="utf-8") == page("zh")
    assert len(capsys.readouterr().out.splitlines()) == 2


@pytest.mark.parametrize("language", PAGES)
def test_every_key_and_every_alias_is_on_the_page(language: Language) -> None:
    text = page(language)
    for name in (
        *TOP,
        *ALIASES,
        *(key for section in (*SECTIONS.values(), MixSource, Group) for key in keys_of(section)),
    ):
        assert f"`{name}`" in text or f"data.{name}`" in text, name


def test_every_key_says_what_it_means_in_both_languages() -> None:
    for model in (RunConfig, Embedded, MixSource, Group, *SECTIONS.values()):
        for name, field in model.model_fields.items():
            if name in SECTIONS and model is RunConfig:
                continue
            extra = field.json_schema_extra
            assert isinstance(extra, dict), (model, name)
            assert field.description and field.description.endswith("."), (model, name)
            assert str(extra["zh"]).endswith("。"), (model, name)
            assert name in ("embedded", "mix", *PARTS) or kind_of(model, field.alias or name) is not None, (model, name)
