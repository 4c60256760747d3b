"""What ``huohou tokenizer`` prints for people."""

from __future__ import annotations

from typing import Any

from huohou.language import Text

_LENGTHS = (
    ("characters_per_token", Text("characters per token", "每词元字符数"), "{:.3f}"),
    ("bytes_per_token", Text("bytes per token", "每词元字节数"), "{:.3f}"),
    ("own_token", Text("characters with a token of their own", "有独立词元的字符"), "{:.3%}"),
    ("through_bytes", Text("characters written in bytes", "以字节表示的字符"), "{:.3%}"),
    ("unknown", Text("unknown tokens", "未知词元"), "{:,}"),
    ("round_trip", Text("texts that come back exactly", "能完全还原的文本"), "{:.3%}"),
)
_MEASURED_ON = {
    "held_out": Text("held-out texts", "另给的文本"),
    "left_out": Text("every 20th document, which was not learned from", "未参与学习的每第 20 篇文档"),
    "training": Text("the texts that were learned from", "学习所用的文本"),
    "embedded": Text("the embedded corpus", "内置语料"),
}
_REASONS = {
    "present": Text("in the base already", "原词表已有"),
    "ascii": Text("with ASCII letters, digits, signs or spaces", "含 ASCII 字母、数字、符号或空格"),
    "split": Text("never read as one by the base", "原分词器从不当作整体"),
    "unusable": Text("unusable (empty, control characters, too long)", "不可用（空、控制字符或过长）"),
}


def print_measured(report: dict[str, Any]) -> None:
    """A tokenizer's report; beside it that of the one it grew from, where there is one (``base``)."""
    base: dict[str, Any] = report.get("base") or {}
    _print_texts(report)
    _print_lengths(base.get("before"), report)
    if base:
        _print_kept(base)
    _print_reach(report.get("reach"))
    for role, (config, names) in (report.get("disagree") or {}).items():
        print(Text(
            f"{role}: tokenizer_config.json says {config!r}, special_tokens_map.json {names!r}",
            f"{role}：tokenizer_config.json 写 {config!r}，special_tokens_map.json 写 {names!r}",
        ))  # fmt: skip


def print_extended(report: dict[str, Any]) -> None:
    """What ``extend`` did, and how the text is split before and after."""
    added, size = report["added"], report["vocab_size"]
    pad = report["pad_added"]
    more = Text(f" and {pad}", f"，另加 {pad}") if pad else Text("", "")
    print(Text(
        f"{report['output']}: {size:,} tokens = {report['base_size']:,} old + {added:,} new{more.en}",
        f"{report['output']}：{size:,} 个词元 = 原有 {report['base_size']:,} + 新增 {added:,}{more.zh}",
    ))  # fmt: skip
    if report["left_out"]:
        reasons = sorted(report["left_out"].items())
        en = ", ".join(f"{number:,} {_REASONS[reason].en}" for reason, number in reasons)
        zh = "，".join(f"{_REASONS[reason].zh} {number:,}" for reason, number in reasons)
        total = report["source_pieces"]
        print(Text(f"of the source's {total:,} pieces left out: {en}", f"来源的 {total:,} 个词中未取：{zh}"))
    if report["source_folds_width"]:
        print(Text(
            "the source was made from text with full-width signs folded (NFKC); its pieces got them back",
            "来源的训练文本曾把全角符号转为半角（NFKC）；这里已恢复全角",
        ))  # fmt: skip
    lost = "、".join(report["unreachable_examples"])
    print(Text(
        f"unreachable, left out: {report['unreachable']:,}{f' ({lost} …)' if lost else ''}",
        f"无法到达而舍去：{report['unreachable']:,}{f'（{lost}……）' if lost else ''}",
    ))  # fmt: skip
    if report["unreachable"] > report["added"]:
        print(Text(
            "  the base lacks what most of them are made of; --complete adds it",
            "  原词表缺少其中多数词的组成部分；--complete 会补上",
        ))  # fmt: skip
    print(Text(f"added on the way to others: {report['completed']:,}", f"为到达其他词而补上：{report['completed']:,}"))
    if report["partial"]:
        print(Text(
            f"new pieces that are part of a character: {report['partial']:,}; texts with other characters that share "
            "these bytes get other ids",
            f"只是一个字的一部分的新词：{report['partial']:,}；含有相同字节的其他字的文本，编号也会改变",
        ))  # fmt: skip
    if report["cut"]:
        print(Text(f"beyond the size asked for: {report['cut']:,}", f"超出所要求的总数：{report['cut']:,}"))
    _print_texts(report["after"], _MEASURED_ON[report["measured_on"]])
    _print_lengths(report["before"], report["after"])
    _print_kept(report)
    _print_reach(report["reach"])
    if not report["tokenizer_model"]:
        print(Text("written: tokenizer.json", "写出：tokenizer.json"))
    else:
        print(Text("written: tokenizer.json, tokenizer.model", "写出：tokenizer.json、tokenizer.model"))


def _print_texts(report: dict[str, Any], what: Text | None = None) -> None:
    given = Text(f"{what.en}: ", f"{what.zh}：") if what else Text("", "")
    print(Text(
        f"measured on: {given.en}{report['texts']:,} documents, {report['characters']:,} characters, "
        f"{report['tokens']:,} tokens",
        f"测量文本: {given.zh}{report['texts']:,} 篇文档，{report['characters']:,} 个字符，{report['tokens']:,} 个词元",
    ))  # fmt: skip


def _print_lengths(before: dict[str, Any] | None, after: dict[str, Any]) -> None:
    for key, name, form in _LENGTHS:
        shown = [("–" if one[key] is None else form.format(one[key])) for one in (before, after) if one]
        print(f"{name}: {' → '.join(shown)}")
    back = after["hostile"] - len(after["lost"])
    name = Text("hostile texts that come back exactly", "能完全还原的刁难文本")
    print(f"{name}: {back}/{after['hostile']}")
    for lost in after["lost"]:
        print(Text(f"  changed: {lost}", f"  有变化：{lost}"))


def _print_kept(compared: dict[str, Any]) -> None:
    lines, changed = compared["plain_lines"], compared["changed"]
    print(Text(
        f"lines without a character of an added piece, here and in 1 MB of English and code: {lines:,}, of which "
        f"{changed:,} have other ids",
        f"这里及 1 MB 英文与代码中不含新词任何字符的行：{lines:,}，其中编号改变的 {changed:,}",
    ))  # fmt: skip
    for line in compared["examples"]:
        print(Text(f"  changed: {line}", f"  有变化：{line}"))


def _print_reach(reach: dict[str, Any] | None) -> None:
    if reach is None:
        return
    pathless, shadowed = reach["pathless"], reach["shadowed"]
    where = Text("", "")
    if pathless + shadowed and "of_added" in reach:
        where = Text(
            f"; {reach['of_added']:,} of them added, {reach['of_base']:,} of the base",
            f"；其中新增的 {reach['of_added']:,}，原有的 {reach['of_base']:,}",
        )
    print(Text(
        f"pieces that no text is encoded as: {pathless + shadowed:,} of {reach['pieces']:,} "
        f"({pathless:,} unreachable, {shadowed:,} shadowed by others{where.en})",
        f"任何文本都用不到的词：{reach['pieces']:,} 个中的 {pathless + shadowed:,} 个"
        f"（无法到达 {pathless:,}，被别的词遮蔽 {shadowed:,}{where.zh}）",
    ))  # fmt: skip
    if reach["examples"]:
        print(f"  {'、'.join(reach['examples'])}")
