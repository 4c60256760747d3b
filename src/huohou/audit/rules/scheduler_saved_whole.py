"""A scheduler is saved as an object and not as its state."""

from __future__ import annotations

import ast
from collections.abc import Iterator

from huohou.audit.document import Document
from huohou.audit.reading import Edit, Given, Reading
from huohou.audit.rules.base import Example, Found, Rule
from huohou.audit.rules.code import at, calls, dotted, targets, tree_of
from huohou.language import Text


def check(reading: Reading) -> Iterator[Found]:
    """``torch.save`` or ``pickle.dump`` of a scheduler itself, alone or in a mapping."""
    tree = tree_of(reading)
    if tree is None:
        return
    names = set(targets(tree))
    for call in calls(tree, "save", "dump"):
        if dotted(call.func) not in ("torch.save", "pickle.dump") or not call.args:
            continue
        saved = call.args[0]
        members = saved.values if isinstance(saved, ast.Dict) else [saved]
        for member in members:
            if dotted(member) in names:
                yield Found(
                    at(reading, member),
                    Text(
                        f"{dotted(member)} is saved as an object: its optimizer goes with it, and a lambda in it "
                        "cannot.",
                        f"{dotted(member)} 被整个保存：它的优化器会一起写入，而其中的 lambda 无法写入。",
                    ),
                    Text(f"save {dotted(member)}.state_dict().", f"请保存 {dotted(member)}.state_dict()。"),
                    _edit(reading, member),
                )


def _edit(reading: Reading, member: ast.expr) -> tuple[Edit, ...]:
    document: Document = reading.facts["document"]
    if document.source.path is None or document.source.suffix != ".py":
        return ()
    line = document.source.text.split("\n")[member.lineno - 1].encode()
    # With what stands before it, so that a key of the same name is left alone.
    old = line[max(0, member.col_offset - 2) : member.end_col_offset].decode(errors="ignore")
    return (
        (Edit(document.source.name, member.lineno, old, f"{old}.state_dict()"),)
        if line.decode().count(old) == 1
        else ()
    )


def _file(state: str) -> Example:
    text = (
        "import torch\n\noptimizer = torch.optim.AdamW(model.parameters(), lr=1e-4)\n"
        "scheduler = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, T_max=999)\n"
        f'torch.save({{"scheduler": scheduler{state}}}, "last.pt")\n'
    )
    return Example("train.py", text, Given(updates=1000))


RULE = Rule(
    id="scheduler-saved-whole",
    severity="warning",
    title=Text("The scheduler is saved as an object.", "调度器被整个保存。"),
    why=Text(
        "A pickled scheduler holds the optimizer and all its tensors, is tied to the classes of one version, and "
        "fails with a lambda; what comes back steps an optimizer that is not the run's.",
        "pickle 的调度器连着优化器及其全部张量，绑定某一版本的类，遇到 lambda 还会失败；恢复之后推进的是另一个优化器。",
    ),
    victims=("huggingface/transformers #21689", "pytorch/pytorch #9927", "pytorch/pytorch #32756"),
    check=check,
    bad=(Example("train.py", _file("").text, Given(updates=1000), fixed=_file(".state_dict()").text),),
    good=(_file(".state_dict()"),),
)
