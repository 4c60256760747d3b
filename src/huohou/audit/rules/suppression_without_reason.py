"""A comment takes a finding back and does not say why."""

from __future__ import annotations

from collections.abc import Iterator

from huohou.audit.document import Document
from huohou.audit.reading import Reading
from huohou.audit.rules.base import Example, Found, Rule
from huohou.audit.rules.examples import trainer
from huohou.audit.suppress import comments
from huohou.language import Text


def check(reading: Reading) -> Iterator[Found]:
    """``huohou: ignore[…]`` with nothing behind it."""
    document: Document | None = reading.facts.get("document")
    for comment in comments(document.source.text) if document is not None else ():
        if not comment.reason:
            yield Found(
                None,
                Text(
                    f"{comment.rule} is ignored here and nobody says why.",
                    f"此处忽略了 {comment.rule}，却没有说明理由。",
                ),
                Text("write the reason behind the bracket.", "请在方括号之后写明理由。"),
                line=comment.line,
            )


def _file(reason: str) -> Example:
    plain = trainer(lr_scheduler_type='"cosine"', lr_scheduler_kwargs=None)
    return Example(plain.name, f"# huohou: ignore[updates-at-zero]{reason}\n{plain.text}", plain.given)


RULE = Rule(
    id="suppression-without-reason",
    severity="note",
    title=Text("A finding is ignored without a reason.", "忽略问题却没有说明理由。"),
    why=Text(
        "Whoever reads the file later cannot tell a decision from an oversight. The same is said of rules that a "
        "project's configuration ignores without a reason.",
        "以后读文件的人分不清这是决定还是疏忽。项目配置中不写理由就忽略的规则，也会同样提示。",
    ),
    victims=("https://docs.astral.sh/ruff/rules/blanket-noqa/",),
    check=check,
    bad=(_file(""),),
    good=(_file(" the library does so"),),
)
