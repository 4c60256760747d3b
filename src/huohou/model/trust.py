"""What a foreign ``config.json`` may not ask for: code, files from elsewhere, kernels from a hub."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from huohou.errors import UserError

_CODE = ("auto_map", "custom_pipelines")
_IMPLEMENTATION = re.compile(r"_?\w*implementation(_internal)?")


def check_config(values: Mapping[str, Any], where: str | Path, *, remote_code: bool = False) -> None:
    """``UserError`` for a config that names code to run; ``remote_code`` allows the code of the folder itself.

    A config may name an implementation of attention; anything but a plain word there is the address of somebody's
    kernel, which is code too and never fetched.
    """
    for key, value in _all_keys(values):
        if key in _CODE and value and not remote_code:
            raise UserError(
                f"{where}: {key} names code of the model's own, which is not run; if you trust it, write "
                "model.remote_code: true.",
                f"{where}：{key} 指向模型自带的代码，不会运行；如果信任它，请写 model.remote_code: true。",
            )
        if _IMPLEMENTATION.fullmatch(key) and value is not None:
            plain = isinstance(value, str) and re.fullmatch(r"\w+", value)
            if key.endswith("_internal") or not plain:
                raise UserError(
                    f"{where}: {key} is {value!r}, which names code from elsewhere; remove the key.",
                    f"{where}：{key} 是 {value!r}，指向外部代码；请删除这个键。",
                )


def _all_keys(value: object) -> Iterator[tuple[str, Any]]:
    """Every key of nested objects with its value. A parser of JSON has limited their depth already."""
    if isinstance(value, Mapping):
        for key, inner in value.items():
            yield str(key), inner
            yield from _all_keys(inner)
    elif isinstance(value, list):
        for inner in value:
            yield from _all_keys(inner)
