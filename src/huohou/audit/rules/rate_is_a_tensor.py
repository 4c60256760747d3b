"""The optimizer's rate is a tensor, which schedulers change in place."""

from __future__ import annotations

import ast
from collections.abc import Iterator

from huohou.audit.document import Document
from huohou.audit.reading import Edit, Given, Reading
from huohou.audit.rules.base import Example, Found, Rule
from huohou.audit.rules.code import at, called, keyword, replaced_node, targets, tree_of
from huohou.language import Text


def check(reading: Reading) -> Iterator[Found]:
    """``lr=torch.tensor(…)`` of an optimizer in a file that makes a scheduler."""
    tree = tree_of(reading)
    if tree is None or not targets(tree):
        return
    for call in targets(tree, optimizers=True).values():
        rate = keyword(call, "lr")
        if rate is None or called(rate) != "tensor" or not isinstance(rate, ast.Call):
            continue
        yield Found(
            at(reading, rate),
            Text(
                "the rate is a tensor: before PyTorch 2.13 a scheduler changes the peak that it remembers along with "
                "it.",
                "学习率是张量：PyTorch 2.13 以前，调度器会连同自己记住的峰值一起改掉。",
            ),
            Text("write a plain number.", "请写普通数字。"),
            _edit(reading, rate),
        )


def _edit(reading: Reading, rate: ast.Call) -> tuple[Edit, ...]:
    if len(rate.args) != 1 or rate.keywords or rate.end_lineno != rate.lineno:
        return ()
    # The number as its author wrote it: 1e-4 and not 0.0001.
    document: Document = reading.facts["document"]
    line, inner = document.source.text.split("\n")[rate.lineno - 1].encode(), rate.args[0]
    return replaced_node(reading, rate, line[inner.col_offset : inner.end_col_offset].decode(errors="ignore"))


def _file(rate: str) -> Example:
    text = (
        f"import torch\n\noptimizer = torch.optim.AdamW(model.parameters(), lr={rate})\n"
        "scheduler = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, T_max=999)\n"
    )
    return Example("train.py", text, Given(updates=1000))


RULE = Rule(
    id="rate-is-a-tensor",
    severity="note",
    title=Text("The learning rate is a tensor.", "学习率是张量。"),
    why=Text(
        "A scheduler keeps the rates that it was made with. Where they are one tensor with the optimizer's, writing "
        "the new rate in place changes the base too, and every later rate is a share of a share.",
        "调度器会记住创建时的学习率。若它与优化器的是同一个张量，就地写入新值会连基准一起改掉，此后的学习率就成了比例"
        "的比例。",
    ),
    victims=("pytorch/pytorch #162359", "deepspeedai/DeepSpeed PR #7633", "deepspeedai/DeepSpeed #8202"),
    check=check,
    bad=(Example("train.py", _file("torch.tensor(1e-4)").text, Given(updates=1000), fixed=_file("1e-4").text),),
    good=(_file("1e-4"),),
)
