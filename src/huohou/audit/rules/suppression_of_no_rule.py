"""A comment takes back a rule that does not exist."""

from __future__ import annotations

import difflib
from collections.abc import Iterator

from huohou.audit.document import Document
from huohou.audit.reading import Reading
from huohou.audit.rules.base import Example, Found, Rule
from huohou.audit.rules.examples import trainer
from huohou.audit.suppress import comments
from huohou.language import Text


def check(reading: Reading) -> Iterator[Found]:
    """``huohou: ignore[…]`` with a name that no rule has."""
    from huohou.audit.rules.all import RULES

    known = sorted(rule.id for rule in RULES)
    document: Document | None = reading.facts.get("document")
    for comment in comments(document.source.text) if document is not None else ():
        if comment.rule not in known:
            near = difflib.get_close_matches(comment.rule, known, 1, 0)[0]
            yield Found(
                None,
                Text(f"there is no rule {comment.rule}.", f"没有规则 {comment.rule}。"),
                Text(f"did you mean {near}?", f"是不是 {near}？"),
                line=comment.line,
            )


def _file(rule: str) -> Example:
    plain = trainer(lr_scheduler_type='"cosine"', lr_scheduler_kwargs=None)
    at_zero = "# huohou: ignore[updates-at-zero] the library does so\n"
    return Example(plain.name, f"{at_zero}# huohou: ignore[{rule}] as it was\n{plain.text}", plain.given)


RULE = Rule(
    id="suppression-of-no-rule",
    severity="error",
    title=Text("A rule is ignored that does not exist.", "忽略了不存在的规则。"),
    why=Text(
        "A name that is misspelled takes nothing back, and whoever wrote it believes that it does.",
        "写错的名字什么也不会忽略，而写的人以为已经忽略了。",
    ),
    victims=("https://docs.astral.sh/ruff/rules/invalid-rule-code/",),
    check=check,
    bad=(_file("no-warmpu"),),
    good=(_file("no-warmup"),),
)
