"""The scheduler's length is counted in micro-batches, and it is stepped with every update."""

from __future__ import annotations

import ast
from collections.abc import Iterator

from huohou.audit.document import Document
from huohou.audit.reading import Edit, Given, Reading
from huohou.audit.rules.base import Example, Found, Rule
from huohou.audit.rules.code import (
    accumulates,
    accumulations,
    at,
    called,
    dotted,
    keyword,
    makes_scheduler,
    nodes,
    optimizer_steps,
    scheduler_steps,
    targets,
    tree_of,
)
from huohou.language import Text

_LENGTHS = ("num_training_steps", "T_max", "total_steps", "steps_per_epoch", "total_iters")
_PLACES = {"get_linear_schedule_with_warmup": 2, "get_cosine_schedule_with_warmup": 2, "CosineAnnealingLR": 1}


def check(reading: Reading) -> Iterator[Found]:
    """``len(loader)`` undivided in a length, where the optimizer and the scheduler step under a remainder."""
    tree = tree_of(reading)
    if tree is None or not accumulates(reading, optimizer_steps(tree)):
        return
    slow = {step.owner for step in scheduler_steps(tree) if step.every_so_often}
    divisors = _divisors(tree)
    for name, call in targets(tree).items():
        length = _length(call)
        if name not in slow or length is None or not makes_scheduler(call):
            continue
        node = _followed(tree, length)
        loader = next((each for each in ast.walk(node) if called(each) == "len"), None)
        if loader is None or not _undivided(node) or not isinstance(loader, ast.Call):
            continue
        inside = ast.unparse(loader)
        if not any(word in inside.lower() for word in ("loader", "dl")):
            continue
        by = sorted(divisors)[0] if divisors else "accumulation"
        yield Found(
            at(reading, node),
            Text(
                f"the length holds {inside}, which counts micro-batches, but {name} is stepped once in an update: its "
                "decay is not finished when the run is.",
                f"总步数用了 {inside}（按微批计），而 {name} 每个更新步才推进一次：训练结束时衰减还远未完成。",
            ),
            Text(f"divide it: {inside} // {by}.", f"请除以累积数：{inside} // {by}。"),
            _edit(reading, loader, by) if divisors else (),
        )


def _length(call: ast.Call) -> ast.expr | None:
    for name in _LENGTHS:
        found = keyword(call, name)
        if found is not None:
            return found
    place = _PLACES.get(called(call))
    return call.args[place] if place is not None and place < len(call.args) else None


def _followed(tree: ast.AST, node: ast.expr) -> ast.expr:
    """What a name was set to, where it was set once."""
    name = dotted(node)
    found = [
        each.value
        for each in nodes(tree)
        if isinstance(each, ast.Assign) and any(dotted(target) == name for target in each.targets)
    ]
    return found[0] if name and len(found) == 1 else node


def _undivided(node: ast.expr) -> bool:
    return not any(
        isinstance(each, ast.BinOp) and isinstance(each.op, ast.Div | ast.FloorDiv) for each in ast.walk(node)
    )


def _divisors(tree: ast.AST) -> set[str]:
    """By what a remainder is taken where the optimizer steps: the accumulation."""
    return {ast.unparse(node) for node in accumulations(optimizer_steps(tree))}


def _edit(reading: Reading, loader: ast.Call, by: str) -> tuple[Edit, ...]:
    document: Document = reading.facts["document"]
    lines = document.source.text.split("\n")
    old = ast.unparse(loader)
    if document.source.path is None or document.source.suffix != ".py" or lines[loader.lineno - 1].count(old) != 1:
        return ()
    return (Edit(document.source.name, loader.lineno, old, f"{old} // {by}"),)


def _file(length: str) -> Example:
    text = (
        "import torch\n\naccumulation = 4\noptimizer = torch.optim.AdamW(model.parameters(), lr=1e-4)\n"
        f"steps = {length} * 3  # three epochs\n"
        "scheduler = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, T_max=steps)\n\n"
        "for step, batch in enumerate(loader):\n    (model(**batch).loss / accumulation).backward()\n"
        "    if (step + 1) % accumulation == 0:\n        optimizer.step()\n        scheduler.step()\n"
        "        optimizer.zero_grad()\n"
    )
    return Example("train.py", text, Given(updates=1000))


_RIGHT = _file("len(loader) // accumulation")
_WRONG = _file("len(loader)")

RULE = Rule(
    id="length-in-micro-batches",
    severity="error",
    title=Text("The scheduler's length is counted in micro-batches.", "调度器的总步数按微批计。"),
    why=Text(
        "len(loader) counts micro-batches. Where the scheduler is stepped once in an update, a length that is not "
        "divided by the accumulation is as many times too long: with 4, a cosine ends at 85 % of the peak.",
        "len(loader) 是微批数。调度器每个更新步才推进一次时，没有除以累积数的总步数就长了同样的倍数：累积 4 次时，余"
        "弦衰减结束时还有峰值的 85 %。",
    ),
    victims=("vllm-project/speculators PR #859", "huggingface/transformers #18436", "huggingface/accelerate #1170"),
    check=check,
    bad=(Example(_WRONG.name, _WRONG.text, _WRONG.given, fixed=_RIGHT.text),),
    good=(_RIGHT,),
)
