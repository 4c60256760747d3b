"""A length that includes the warmup is written without it."""

from __future__ import annotations

import ast
from collections.abc import Iterator

from huohou.audit.edits import replaced
from huohou.audit.reading import Reading
from huohou.audit.rules.base import Example, Found, Rule
from huohou.audit.values import Value
from huohou.language import Text

_LENGTHS = ("num_training_steps", "decay_steps", "lr_decay_iters")
_WARMUPS = ("num_warmup_steps", "warmup_steps", "lr_warmup_iters")
_FAMILIES = ("megatron", "optax")


def check(reading: Reading) -> Iterator[Found]:
    """A length of T − W, in numbers where T is known, or in the words of the file."""
    length, warmup = reading.settings.find(*_LENGTHS), reading.settings.find(*_WARMUPS)
    if length is None or warmup is None:
        return
    scheduler = str(reading.facts.get("scheduler", ""))
    if reading.facts.get("family") not in _FAMILIES and not scheduler.startswith("get_"):
        return
    run = _run(reading, length, warmup)
    if run is None:
        return
    key = next(key for key in _LENGTHS if key in reading.settings)
    yield Found(
        length,
        Text(
            f"{key} {length.written} leaves the warmup out, but it is counted in: the decay is over before the run is.",
            f"{key} {length.written} 扣掉了预热，而它本来就包含预热：衰减会在训练结束之前走完。",
        ),
        Text(f"write {run}.", f"请写 {run}。"),
        replaced(reading, key, length, run) if run.isdigit() else (),
    )


def _run(reading: Reading, length: Value, warmup: Value) -> str | None:
    """The length of the run, as it should be written; ``None`` where the length is not T − W."""
    try:
        tree = ast.parse(length.written, mode="eval").body
    except (SyntaxError, ValueError, RecursionError, MemoryError):
        tree = None
    if isinstance(tree, ast.BinOp) and isinstance(tree.op, ast.Sub) and ast.unparse(tree.right) == warmup.written:
        return ast.unparse(tree.left)
    if reading.facts.get("family") != "megatron":
        return None
    for role in reading.roles:
        updates = role.applied.updates
        if role.horizon is not None and role.warmup >= 1 and abs(role.horizon - (updates - role.warmup)) < 0.5:
            return str(updates)
    return None


def _file(decay: int) -> Example:
    flags = (
        "--train-iters 1000 --lr 3e-4 --min-lr 3e-5 --lr-decay-style cosine --lr-warmup-iters 100 --lr-decay-iters "
        f"{decay} --lr-warmup-init 1e-6 --global-batch-size 64 --micro-batch-size 1 --seq-length 4096"
    )
    return Example("run.sh", f"torchrun pretrain_gpt.py {flags}\n")


_OPTAX = (
    "import optax\n\ntotal, warmup = 1000, 100\n"
    "schedule = optax.warmup_cosine_decay_schedule(\n"
    "    init_value=1e-6, peak_value=1e-3, warmup_steps=warmup, decay_steps=total - warmup\n)\n"
)

RULE = Rule(
    id="decay-leaves-the-warmup-out",
    severity="error",
    title=Text("The decay's length leaves the warmup out.", "衰减长度扣掉了预热。"),
    why=Text(
        "lr_decay_iters of Megatron, decay_steps of optax and num_training_steps of the Transformers are counted "
        "from the start of the run, the warmup included. Written as T − W, the last W updates are spent at the floor.",
        "Megatron 的 lr_decay_iters、optax 的 decay_steps、Transformers 的 num_training_steps 都从训练开始算起，已含"
        "预热。写成 T − W，最后 W 步就停在下限。",
    ),
    victims=(
        "inclusionAI/AReaL PR #1289",
        "google-deepmind/optax #835",
        "google-deepmind/optax #905",
        "NVIDIA/Megatron-LM #1413",
    ),
    check=check,
    bad=(
        Example("run.sh", _file(900).text, fixed=_file(1000).text),
        Example("train.py", _OPTAX),
    ),
    good=(_file(1000),),
)
