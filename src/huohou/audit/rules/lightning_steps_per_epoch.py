"""Lightning steps a scheduler once in an epoch unless told otherwise."""

from __future__ import annotations

import ast
from collections.abc import Iterator

from huohou.audit.document import Document
from huohou.audit.reading import Edit, Given, Reading
from huohou.audit.rules.base import Example, Found, Rule
from huohou.audit.rules.code import at, called, dotted, keyword, makes_scheduler, nodes, targets, tree_of
from huohou.language import Text

_IN_UPDATES = ("num_training_steps", "num_warmup_steps", "total_steps", "steps_per_epoch")


def check(reading: Reading) -> Iterator[Found]:
    """A ``configure_optimizers`` that returns a scheduler made in updates, and no ``interval`` that says step."""
    tree = tree_of(reading)
    if tree is None:
        return
    for function in nodes(tree):
        if isinstance(function, ast.FunctionDef) and function.name == "configure_optimizers":
            yield from _function(reading, function)


def _function(reading: Reading, function: ast.FunctionDef) -> Iterator[Found]:
    made = {name: call for name, call in targets(function).items() if _in_updates(call)}
    if not made or any(isinstance(node, ast.Constant) and node.value == "step" for node in ast.walk(function)):
        return
    for node in ast.walk(function):
        if isinstance(node, ast.Return) and node.value is not None:
            names = {dotted(each) for each in ast.walk(node.value) if dotted(each)}
            for name in sorted(names & set(made)):
                yield Found(
                    at(reading, node),
                    Text(
                        f"{name} is made in updates, but Lightning steps it once in an epoch: a warmup of 1000 updates "
                        "takes 1000 epochs.",
                        f"{name} 按更新步设计，而 Lightning 默认每轮才推进一次：1000 步的预热要走 1000 轮。",
                    ),
                    Text(
                        'return {"optimizer": …, "lr_scheduler": {"scheduler": …, "interval": "step"}}.',
                        '请返回 {"optimizer": …, "lr_scheduler": {"scheduler": …, "interval": "step"}}。',
                    ),
                    _edit(reading, node.value, name),
                )


def _in_updates(call: ast.Call) -> bool:
    if not makes_scheduler(call):
        return False
    if called(call).startswith("get_") and len(call.args) > 1:
        return True
    return any(keyword(call, name) is not None for name in _IN_UPDATES)


def _edit(reading: Reading, value: ast.expr, name: str) -> tuple[Edit, ...]:
    """``"scheduler": name`` gains its interval; ``"lr_scheduler": name`` becomes a mapping with one."""
    document: Document = reading.facts["document"]
    if document.source.path is None or document.source.suffix != ".py":
        return ()
    lines = document.source.text.split("\n")
    for node in ast.walk(value):
        for key, member in zip(node.keys, node.values, strict=True) if isinstance(node, ast.Dict) else ():
            if not isinstance(key, ast.Constant) or dotted(member) != name or key.lineno != member.lineno:
                continue
            old = lines[member.lineno - 1].encode()[key.col_offset : member.end_col_offset].decode()
            inner = f'"scheduler": {name}, "interval": "step"'
            new = inner if key.value == "scheduler" else f'"lr_scheduler": {{{inner}}}'
            if key.value in ("scheduler", "lr_scheduler"):
                return (Edit(document.source.name, member.lineno, old, new),)
    return ()


def _file(more: str) -> Example:
    text = (
        "# huohou: ignore[updates-at-zero] as the Transformers do\n"
        "import torch\nfrom transformers import get_cosine_schedule_with_warmup\n\n\nclass Module:\n"
        "    def configure_optimizers(self):\n"
        "        optimizer = torch.optim.AdamW(self.parameters(), lr=1e-4)\n"
        "        scheduler = get_cosine_schedule_with_warmup(optimizer, 100, 1000)\n"
        f'        return {{"optimizer": optimizer, "lr_scheduler": {more}}}\n'
    )
    return Example("train.py", text, Given(updates=1000))


_RIGHT = _file('{"scheduler": scheduler, "interval": "step"}')
_WRONG = _file("scheduler")

RULE = Rule(
    id="lightning-steps-per-epoch",
    severity="error",
    title=Text("Lightning steps the scheduler once in an epoch.", "Lightning 每轮才推进一次调度器。"),
    why=Text(
        "The interval of a scheduler that configure_optimizers returns is the epoch unless it says step. A warmup of "
        "4000 updates then lasts 4000 epochs, and the run is over at a fraction of the peak.",
        "configure_optimizers 返回的调度器默认按轮（epoch）推进，除非写明 step。4000 步的预热要 4000 轮才走完，训练结"
        "束时学习率只有峰值的一小部分。",
    ),
    victims=(
        "ace-step/ACE-Step PR #198",
        "Lightning-AI/pytorch-lightning #20436",
        "Lightning-AI/pytorch-lightning PR #19774",
    ),
    check=check,
    bad=(Example(_WRONG.name, _WRONG.text, _WRONG.given, fixed=_RIGHT.text),),
    good=(_RIGHT,),
)
