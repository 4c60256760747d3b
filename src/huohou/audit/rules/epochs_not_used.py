"""max_steps goes before the epochs."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace

from huohou.audit.edits import removed
from huohou.audit.reading import Reading
from huohou.audit.rules.base import Found, Rule
from huohou.audit.rules.examples import trainer
from huohou.language import Text

_EPOCHS = ("num_train_epochs", "num_epochs")


def check(reading: Reading) -> Iterator[Found]:
    """Both written, ``max_steps`` above 0."""
    epochs, steps = reading.settings.find(*_EPOCHS), reading.settings.number("max_steps") or 0
    if reading.facts.get("family") != "transformers" or epochs is None or steps <= 0:
        return
    if reading.facts.get("framework") == "torchtune" or not epochs.known:
        return
    key = next(key for key in _EPOCHS if key in reading.settings)
    yield Found(
        epochs,
        Text(
            f"max_steps {steps:g} is the length of the run, and {key} {epochs.written or epochs.value} is not used.",
            f"训练长度由 max_steps {steps:g} 决定，{key} {epochs.written or epochs.value} 不起作用。",
        ),
        Text("leave one of them out.", "请只留一个。"),
        removed(reading, key, epochs),
    )


_WRONG, _RIGHT = trainer(num_train_epochs="3"), trainer()

RULE = Rule(
    id="epochs-not-used",
    severity="note",
    title=Text("max_steps goes before the epochs.", "max_steps 优先于轮数。"),
    why=Text(
        "A max_steps above 0 is the length of the run and of its schedule, whatever the epochs say; the run then "
        "stops in the middle of an epoch or begins another.",
        "max_steps 大于 0 时，训练和学习率计划的长度都由它决定，与轮数无关；训练会停在一轮的中间，或者再来一轮。",
    ),
    victims=("huggingface/transformers #12499",),
    check=check,
    bad=(replace(_WRONG, fixed=_RIGHT.text),),
    good=(_RIGHT, trainer(max_steps="1000")),
)
