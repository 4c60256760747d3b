"""The file that most rules are shown, with a line or two of it changed; as it is, no rule finds anything in it."""

from __future__ import annotations

from huohou.audit.reading import Given
from huohou.audit.rules.base import Example

_ARGUMENTS = {
    "learning_rate": "1e-4",
    "lr_scheduler_type": '"cosine_warmup_with_min_lr"',
    "lr_scheduler_kwargs": '{"min_lr_rate": 0.1}',
    "warmup_steps": "50",
    "max_steps": "1000",
}


def trainer(version: str = "5.20", *, beside: tuple[tuple[str, str], ...] = (), **changed: str | None) -> Example:
    """A call of ``TrainingArguments`` with these arguments as written; ``None`` leaves one out."""
    lines = [f"    {key}={value},\n" for key, value in (_ARGUMENTS | changed).items() if value is not None]
    text = (
        'from transformers import TrainingArguments\n\nargs = TrainingArguments(\n    "out",\n' + "".join(lines) + ")\n"
    )
    return Example("train.py", text, Given(versions={"transformers": version}), beside=beside)
