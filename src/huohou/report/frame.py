"""The frame of every page of ours: it opens from disk, loads nothing, and speaks two languages.

The content security policy allows exactly the one style sheet and the one script that huohou wrote, by their hashes.
"""

from __future__ import annotations

import base64
import hashlib
from importlib.resources import files

from huohou.language import Text, language
from huohou.report.svg import both, safe

_COLOURS = 8


def page(title: str, body: str, style: str) -> str:
    """The whole page around a body; ``style`` comes behind the common style sheet."""
    style = files("huohou.report").joinpath("page.css").read_text(encoding="utf-8") + style
    script = files("huohou.report").joinpath("page.js").read_text(encoding="utf-8")
    policy = (
        f"default-src 'none'; style-src 'sha256-{_hash(style)}'; script-src 'sha256-{_hash(script)}'; "
        "base-uri 'none'; form-action 'none'"
    )
    lang = "zh-Hans" if language() == "zh" else "en"
    return (
        f'<!doctype html>\n<html lang="{lang}">\n<head>\n<meta charset="utf-8">\n'
        f'<meta http-equiv="Content-Security-Policy" content="{policy}">\n'
        '<meta name="viewport" content="width=device-width, initial-scale=1">\n'
        '<meta name="referrer" content="no-referrer">\n'
        f"<title>{safe(title)} · huohou</title>\n<style>{style}</style>\n</head>\n"
        f"<body>\n{body}\n<script>{script}</script>\n</body>\n</html>\n"
    )


def size(style: str) -> int:
    """Bytes of what every page holds besides its body."""
    return len(page("", "", style).encode("utf-8"))


def footer() -> str:
    """The last line of every page."""
    made = both(Text("One file, no network. Made by huohou (火候).", "单个文件，不联网。由火候 (huohou) 生成。"))
    return f"<footer>{made}</footer>"


def _hash(text: str) -> str:
    return base64.b64encode(hashlib.sha256(text.encode("utf-8")).digest()).decode("ascii")


def colours(runs: int) -> str:
    """The colour of each run, and the rule by which its chip hides its lines, with or without the script."""
    return "".join(
        f".r{i}{{--c:var(--c{i % _COLOURS})}}:root:has(#show{i}:not(:checked)) .figure .r{i}{{display:none}}\n"
        for i in range(runs)
    )


def switches() -> str:
    """The choice of the language and of the appearance."""
    chosen = "zh" if language() == "zh" else "en"
    tongues = "".join(
        f'<input class="hidden" type="radio" name="lang" id="lang-{key}" autocomplete="off"'
        f"{' checked' if key == chosen else ''}>"
        f'<label for="lang-{key}" lang="{tag}">{name}</label>'
        for key, tag, name in (("en", "en", "English"), ("zh", "zh-Hans", "中文"))
    )
    themes = "".join(
        f'<input class="hidden" type="radio" name="theme" id="theme-{key}" autocomplete="off"'
        f"{' checked' if key == 'auto' else ''}>"
        f'<label for="theme-{key}">{both(name)}</label>'
        for key, name in (
            ("auto", Text("auto", "自动")),
            ("light", Text("light", "浅色")),
            ("dark", Text("dark", "深色")),
        )
    )
    return (
        f'<fieldset><legend class="hidden">{both(Text("language", "语言"))}</legend>{tongues}</fieldset>'
        f'<fieldset><legend class="hidden">{both(Text("appearance", "外观"))}</legend>{themes}</fieldset>'
    )
