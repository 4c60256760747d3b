"""The reference page of the run file, made from the models: ``python -m huohou.config.reference docs/``."""

from __future__ import annotations

import json
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from huohou.config.aliases import ALIASES, NOT_HERE
from huohou.config.data import Embedded, MixSource
from huohou.config.groups import Group
from huohou.config.kinds import Kind
from huohou.config.run import RunConfig
from huohou.config.section import Section, keys_of, kind_of
from huohou.config.sections import SECTIONS, TOP
from huohou.config.template import example
from huohou.language import Language, Text

PAGES: dict[Language, str] = {"en": "config.md", "zh": "zh/config.md"}
"""The page of each language, below the folder of the documentation."""

_INTRODUCTION = Text(
    """# The run file

One YAML file says what a run is; `huohou init` writes one with comments, `huohou plan` says what it will do, and
`huohou train` does it. This page is made from the code that reads the file.

- **Values carry their unit.** A length is `10%` (of the run), `1000 steps`, `2B tokens`, `1.5 epochs` or `off`; `k`,
  `M`, `B`, `千`, `万`, `亿` and full-width digits are understood. A bare number under `warmup` is refused, because it
  could be a rate or a number of steps.
- **A rate or a share.** `floor: 10%` is a share of the peak, `floor: 3e-5` is a learning rate.
- **Off** is `off`, `no`, `false`, `none`, `关`. `null`, or nothing behind the colon, is as if the key were not there.
- **An unknown key is an error**, which names the nearest key and the line. So is a key written twice, and two keys that
  say the same thing and disagree.
- **`--set key=value`** changes one value, such as `--set train.updates=2000`; the value is YAML. A mapping takes the
  place of a whole section, `null` removes a key, and `updates`, `epochs`, `tokens` take each other's place.
- **Other names** of the keys, such as `learning_rate` or `warmup_ratio`, are listed below; they may stand at the top of
  the file or in the section of the key that they mean.
""",
    """# 训练配置文件

一个 YAML 文件说明一次训练；`huohou init` 写出带注释的示例，`huohou plan` 说明它会做什么，`huohou train` 执行。
本页由读取该文件的代码生成。

- **值带单位。** 长度写成 `10%`（占全程）、`1000 steps`、`2B tokens`、`1.5 epochs` 或 `off`；
  可用 `k`、`M`、`B`、`千`、`万`、`亿` 和全角数字。`warmup` 下不带单位的数不接受，因为分不清是比例还是步数。
- **学习率或比例。** `floor: 10%` 是峰值的比例，`floor: 3e-5` 是学习率。
- **关闭**写 `off`、`no`、`false`、`none` 或 `关`。`null` 或冒号后留空，等于没有写这个键。
- **未知的键是错误**，并会指出最接近的键和行号。同一个键写两次、两个同义的键互相矛盾，也是错误。
- **`--set 键=值`** 修改一个值，例如 `--set train.updates=2000`；值按 YAML 读。映射会取代整节，`null` 去掉一个键，
  写出 `updates`、`epochs`、`tokens` 之一会取代另外两个。
- **别名**（例如 `learning_rate`、`warmup_ratio`）见下文；可写在文件顶层，或写在对应键所在的节里。
""",
)
_HEADS = {"en": "| key | value | default | meaning |", "zh": "| 键 | 值 | 默认 | 含义 |"}
_TOP = Text("At the top of the file.", "文件顶层。")


def page(language: Language) -> str:
    """The whole page."""

    def say(text: Text) -> str:
        return text.zh if language == "zh" else text.en

    parts = [say(_INTRODUCTION), f"## {say(Text('Example', '示例'))}\n", _code(example(language, name="run"))]
    parts += [f"## {say(Text('Top', '顶层'))}\n\n{say(_TOP)}\n", _table(RunConfig, TOP, language)]
    for name, section in SECTIONS.items():
        parts += [f"## `{name}`\n\n{say(section.title)}\n", _table(section, _plain_keys(section), language)]
        parts += [
            f"### `{heading}`\n\n{say(inner.title)}\n" + "\n" + _table(inner, _plain_keys(inner), language)
            for heading, inner in _INNER.items()
            if heading.startswith(f"{name}.")
        ]
    parts += [f"## {say(Text('Other names', '别名'))}\n", "\n".join(_aliases(language)) + "\n"]
    parts += [
        f"## {say(Text('Keys of others that are not here', '别处有、这里没有的键'))}\n",
        "\n".join(f"- `{key}`: {say(text)}" for key, text in NOT_HERE.items()) + "\n",
    ]
    return "\n".join(parts)


_A_SECTION = Kind(lambda value: value, Text("keys, see below", "若干键，见下"))
_INNER: dict[str, type[Section]] = {"data.embedded": Embedded, "data.mix.NAME": MixSource, "groups.PART": Group}
"""The sections inside sections, under the headings that stand for all places where they may be."""


def _plain_keys(section: type[Section]) -> list[str]:
    """The keys of a section, but those whose keys are in a table of their own where that says all."""
    return [name for name in keys_of(section) if name != "embedded"]


def _code(text: str) -> str:
    return f"```yaml\n{text}```\n"


def _table(model: Any, names: Any, language: Language) -> str:
    rows = [_HEADS[language], "|---|---|---|---|"]
    for name in names:
        field = model.model_fields[keys_of(model)[name]]
        kind = kind_of(model, name) or _A_SECTION
        extra: Any = field.json_schema_extra
        meaning = extra["zh"] if language == "zh" else field.description
        value = kind.text.zh if language == "zh" else kind.text.en
        cells = [f"`{name}`", value, _default(field, kind, extra, language), meaning]
        rows.append("| " + " | ".join(cell.replace("|", "\\|") for cell in cells) + " |")
    return "\n".join(rows) + "\n"


def _default(field: Any, kind: Kind, extra: Any, language: Language) -> str:
    if field.is_required():
        return "**必填**" if language == "zh" else "**required**"
    if extra.get("said"):
        return str(extra["said"][language])
    value = kind.write(field.default)
    return f"`{value if isinstance(value, str) else json.dumps(value)}`"


def _aliases(language: Language) -> Iterator[str]:
    """One row for each key that has other names; names with different notes have rows of their own."""
    yield "| 键 | 别名 | 说明 |" if language == "zh" else "| key | other names | note |"
    yield "|---|---|---|"
    rows: dict[tuple[str, str], list[str]] = {}
    for name, alias in ALIASES.items():
        key = ".".join(str(part) for part in alias.path if isinstance(part, str))
        key += "".join(f"[{part}]" for part in alias.path if isinstance(part, int))
        note = "" if alias.note is None else (alias.note.zh if language == "zh" else alias.note.en)
        rows.setdefault((key, note), []).append(f"`{name}`")
    for (key, note), names in rows.items():
        yield f"| `{key}` | {' '.join(names)} | {note} |"


def main(arguments: list[str]) -> int:
    """Write the pages below the folder that is given."""
    folder = Path(arguments[0] if arguments else "docs")
    for language, name in PAGES.items():
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        with open(path, "w", encoding="utf-8", newline="\n") as file:
            file.write(page(language))
        print(path)
    return 0


if __name__ == "__main__":
    raise SystemExit(main(sys.argv[1:]))
