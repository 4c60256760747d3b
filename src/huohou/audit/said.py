"""What a configuration says of its learning rate in its own words: shown where too little is known for a curve."""

from __future__ import annotations

import re

from huohou.audit.values import Settings, Value

_WORDS = re.compile(
    r"(?:.*[._])?(?:(?:base|max|min|peak|init|actor|critic|embedding)_)?(?:lr|learning_rate)(?:_\w+)?"
    r"|.*warmup.*|.*lr_(?:scheduler|decay|schedule).*|(?:.*[._])?(?:scheduler|decay)\w*\.\w+|lr_scheduler|scheduler"
    r"|(?:num_|max_|total_|train_)?(?:train_)?(?:epochs|steps|iters|iterations)|max_steps_per_epoch|training\.steps"
    r"|(?:.*[._])?(?:micro_|global_|train_)?batch_size|per_device_train_batch_size|gradient_accumulation_steps",
    re.IGNORECASE,
)
_MOST = 14


def said(settings: Settings) -> list[tuple[str, Value]]:
    """The words about rate, schedule, length and batch, in the order of their lines; values that are no lists."""
    found = [
        (key, value)
        for key, value in settings.values.items()
        if len(key) < 80
        and _WORDS.fullmatch(key)
        and value.known
        and isinstance(value.value, int | float | str)
        and len(value.written) < 60
    ]
    return sorted(found[:_MOST], key=lambda pair: pair[1].line)
