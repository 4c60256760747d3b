"""LLaMA-Factory's ``dataset_info.json``: names of datasets, and how the file of each is to be read."""

from __future__ import annotations

import re
from collections.abc import Sequence
from pathlib import Path
from typing import Any, cast

from huohou.data.dialogue_forms import Form, Layout
from huohou.data.tokenizer import read_object
from huohou.errors import UserError

_FORMS: dict[str, Form] = {"alpaca": "alpaca", "sharegpt": "sharegpt", "openai": "messages", "messages": "messages"}
_COLUMNS = ("prompt", "query", "response", "history", "messages", "system", "tools")
_TAGS = ("role_tag", "content_tag", "user_tag", "assistant_tag", "observation_tag", "function_tag", "system_tag")
_NOT_TEXT = ("images", "videos", "audios")
_DEFAULT_COLUMNS = {"sharegpt": {"messages": "conversations"}, "messages": {"messages": "messages"}, "alpaca": {}}


def read_dataset_info(path: Path, names: Sequence[str]) -> list[tuple[str, Layout]]:
    """(what to read: a path, perhaps with ``#500``, and its layout) for each of the named datasets, in their order.

    ``file_name`` is taken from the folder of the file. Hub datasets, scripts, ranking and other than text are refused.
    """
    if path.is_dir():
        path = path / "dataset_info.json"
    if not path.is_file():
        raise UserError(
            f"data.dataset_info: {path} does not exist; give the path of LLaMA-Factory's dataset_info.json.",
            f"data.dataset_info: {path} 不存在；请给出 LLaMA-Factory 的 dataset_info.json 的路径。",
        )
    known = read_object(path)
    listed = ", ".join(sorted(known)[:20]) or "–"
    if not names:
        raise UserError(
            f"data.dataset: {path} names several datasets ({listed}); write which of them are to be read.",
            f"data.dataset: {path} 里有这些数据集（{listed}）；请写明要读哪些。",
        )
    found: list[tuple[str, Layout]] = []
    for name in names:
        entry: Any = known.get(name)
        if not isinstance(entry, dict):
            raise UserError(
                f"data.dataset: {path} has no dataset {name}; it has {listed}.",
                f"data.dataset: {path} 里没有数据集 {name}；可用的有 {listed}。",
            )
        found.append(_entry(path, name, cast("dict[str, Any]", entry)))
    return found


def _entry(path: Path, name: str, entry: dict[str, Any]) -> tuple[str, Layout]:
    columns = _strings(path, name, entry, "columns")
    tags = _strings(path, name, entry, "tags")
    if entry.get("ranking") or "chosen" in columns or "kto_tag" in columns:
        raise _wrong(path, name, "holds preferences (ranking, chosen, kto_tag), which SFT cannot learn from",
                     "是偏好数据（ranking、chosen、kto_tag），不能用于指令精调")  # fmt: skip
    if any(key in columns for key in _NOT_TEXT):
        raise _wrong(
            path,
            name,
            "holds pictures, films or sounds; huohou trains on text",
            "含图片、视频或声音；huohou 只训练文本",
        )
    file = entry.get("file_name")
    if not isinstance(file, str) or not file:
        raise _wrong(
            path, name,
            "names no file_name; a dataset of a hub has to be downloaded first and named by its file",
            "没有写 file_name；hub 上的数据集须先下载，再用文件名指定",
        )  # fmt: skip
    place = path.parent / file
    subset = entry.get("subset")
    if isinstance(subset, str) and subset and place.is_dir():
        place = place / subset
    if not place.exists():
        raise _wrong(path, name, f"names the file {place}, which does not exist", f"指定的文件 {place} 不存在")
    formatting = str(entry.get("formatting", "alpaca")).lower()
    if formatting not in _FORMS:
        raise _wrong(path, name, f"has the formatting {formatting}; known are alpaca, sharegpt and openai",
                     f"的 formatting 是 {formatting}；可用的有 alpaca、sharegpt、openai")  # fmt: skip
    form = _FORMS[formatting]
    for key, allowed in (*((key, _COLUMNS) for key in columns), *((key, _TAGS) for key in tags)):
        if key not in allowed:
            raise _wrong(path, name, f"has the key {key}, which is not known", f"含有未知的键 {key}")
    count = entry.get("num_samples")
    if count is not None and not (isinstance(count, int) and count > 0):
        raise _wrong(path, name, f"has num_samples {count}; write a whole number from 1",
                     f"的 num_samples 是 {count}；请写 1 或更大的整数")  # fmt: skip
    return str(place) + (f"#{count}" if count else ""), Layout(form, {**_DEFAULT_COLUMNS[form], **columns}, tags)


def _strings(path: Path, name: str, entry: dict[str, Any], key: str) -> dict[str, str]:
    value: Any = entry.get(key) or {}
    if not isinstance(value, dict) or not all(
        isinstance(item, str) or item is None for item in cast("dict[str, Any]", value).values()
    ):
        raise _wrong(
            path, name, f"should have a JSON object of names under {key}", f"的 {key} 应为由名称组成的 JSON 对象"
        )
    return {k: v for k, v in cast("dict[str, str | None]", value).items() if v is not None}


def _wrong(path: Path, name: str, en: str, zh: str) -> UserError:
    return UserError(f"{path}: the dataset {name} {en}.", f"{path}：数据集 {name} {zh}。")


def split_names(names: str | Sequence[str] | None) -> list[str]:
    """Names as a list, also where they are written with commas as LLaMA-Factory has them."""
    written = [names] if isinstance(names, str) else list(names or ())
    return [part for name in written for part in re.split(r"[,，]\s*", name.strip()) if part]
