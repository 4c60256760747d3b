"""Which language is spoken."""

from __future__ import annotations

import pytest

from huohou.errors import RunFailed, UserError, missing_extra
from huohou.language import Text, choose_language, language


@pytest.mark.parametrize(
    ("variables", "expected"),
    [
        ({}, "en"),
        ({"LANG": "zh_CN.UTF-8"}, "zh"),
        ({"LANG": "zh_CN.UTF-8", "LC_ALL": "C"}, "en"),
        ({"LANG": "en_US.UTF-8", "LC_MESSAGES": "zh_TW"}, "zh"),
        ({"LANG": "zh_CN.UTF-8", "HUOHOU_LANG": "en"}, "en"),
        ({"LC_ALL": "fr_FR", "HUOHOU_LANG": "zh"}, "zh"),
        ({"LC_ALL": "", "LANG": "zh"}, "zh"),
    ],
)
def test_the_environment_chooses(variables: dict[str, str], expected: str, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("HUOHOU_LANG", "LC_ALL", "LC_MESSAGES", "LANG"):
        monkeypatch.delenv(name, raising=False)
    for name, value in variables.items():
        monkeypatch.setenv(name, value)
    choose_language(None)
    assert language() == expected


def test_a_text_is_shown_in_the_language_in_force() -> None:
    text = Text("heat", "火候")
    assert str(text) == "heat"
    choose_language("zh")
    assert str(text) == "火候"
    assert text.plain() == {"en": "heat", "zh": "火候"}
    assert str(UserError("wrong", "错")) == "错"
    assert str(RunFailed("failed", "失败")) == "失败"
    assert "pip install 'huohou[png]'" in str(missing_extra("matplotlib", "png"))
