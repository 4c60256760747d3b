"""The files of a tokenizer, read as data and checked before any library sees them.

The libraries trust their files: an id of four thousand million makes tables of that length, a wrong type may end in
their own words or in none.
"""

from __future__ import annotations

import base64
import json
import os
from pathlib import Path
from typing import Any, cast

from huohou.data.files import reading, shown_error, shown_path
from huohou.errors import UserError, missing_extra

LARGEST = 64 * 2**20
"""Bytes. The largest tokenizer.json in use, of 262,144 pieces, has 33 MB."""
MOST_IDS = 2**22


def read_bytes(path: Path) -> bytes:
    """A tokenizer's file, unless it is too large to be one."""
    with reading(path):
        size = path.stat().st_size
        if size > LARGEST:
            raise UserError(
                f"tokenizer: {shown_path(path)} has {size / 2**20:,.0f} MiB; no tokenizer needs more than "
                f"{LARGEST // 2**20}.",
                f"tokenizer: {shown_path(path)} 有 {size / 2**20:,.0f} MiB；分词器不会超过 {LARGEST // 2**20}。",
            )
        return path.read_bytes()


def read_fast(path: Path) -> tuple[str, dict[str, Any]]:
    """(text, data) of a tokenizer.json whose vocabulary, merges and added tokens have the form they must have."""
    raw = read_bytes(path)
    try:
        text = raw.decode("utf-8-sig")
        plain = json.loads(text)
    except (ValueError, RecursionError) as error:
        raise _wrong(path, shown_error(error), shown_error(error)) from error
    found = _fault(plain)
    if found is not None:
        raise _wrong(path, *found)
    return text, plain


def _wrong(path: Path, en: str, zh: str) -> UserError:
    return UserError(
        f"tokenizer: {shown_path(path)} is not a tokenizer.json of the tokenizers library ({en}).",
        f"tokenizer: {shown_path(path)} 不是 tokenizers 库的 tokenizer.json（{zh}）。",
    )


Fault = tuple[str, str] | None


def _fault(plain: Any) -> Fault:
    """What is wrong with a tokenizer.json, in both languages."""
    if not isinstance(plain, dict):
        return "it should be a JSON object", "应为一个 JSON 对象"
    whole = cast("dict[str, Any]", plain)
    model: Any = whole.get("model")
    added: Any = whole.get("added_tokens") or []
    if not isinstance(model, dict):
        return "it has no model", "没有 model"
    if not isinstance(added, list) or not all(_is_added(token) for token in cast("list[Any]", added)):
        return (
            "added_tokens should be objects with a content and an id",
            "added_tokens 的每一项须为含 content 与 id 的对象",
        )
    given = [int(token["id"]) for token in cast("list[dict[str, Any]]", added)]
    return (
        _fault_of_ids(cast("dict[str, Any]", model).get("vocab"), given)
        or _fault_of_merges(cast("dict[str, Any]", model))
        or _fault_of_tables(whole.get("normalizer"))
    )


def _is_added(token: Any) -> bool:
    if not isinstance(token, dict):
        return False
    found = cast("dict[str, Any]", token)
    return type(found.get("content")) is str and type(found.get("id")) is int


def _fault_of_ids(vocab: Any, added: list[int]) -> Fault:
    if isinstance(vocab, dict):
        ids: list[Any] = list(cast("dict[str, Any]", vocab).values())
    elif isinstance(vocab, list):
        ids = list(range(len(cast("list[Any]", vocab))))
    else:
        return "model.vocab should be an object or a list", "model.vocab 应为对象或列表"
    if not all(type(i) is int for i in ids) or len(set(ids)) != len(ids):
        return "each token needs an id of its own, a whole number", "每个词元须有自己的整数编号"
    given = {*ids, *added}
    highest, lowest = max(given, default=0), min(given, default=0)
    if lowest < 0 or highest >= min(MOST_IDS, 2 * len(given) + 2**17):
        wrong = lowest if lowest < 0 else highest
        return f"the id {wrong} is impossible for {len(given):,} tokens", f"{len(given):,} 个词元不可能有编号 {wrong}"
    return None


def _fault_of_merges(model: dict[str, Any]) -> Fault:
    merges: Any = model.get("merges") or []
    if not isinstance(merges, list) or not all(_is_merge(pair) for pair in cast("list[Any]", merges)):
        return "model.merges should be a list of pairs of tokens", "model.merges 应为词元对的列表"
    vocab: Any = model["vocab"]
    if merges and not isinstance(vocab, dict):
        return "model.merges needs a model.vocab that is an object", "有 model.merges 时 model.vocab 应为对象"
    prefix: Any = model.get("continuing_subword_prefix") or ""
    for pair in cast("list[Any]", merges):
        left, right = pair.split(" ") if isinstance(pair, str) else pair
        # The library cuts the prefix off by its length, whatever stands there.
        made = left + right[len(prefix) :] if isinstance(prefix, str) and len(prefix) <= len(right) else None
        if not {left, right, made} <= vocab.keys():
            return (
                f"the merge of {left!r} and {right!r} is not of its tokens",
                f"合并 {left!r} 与 {right!r} 不在其词元之内",
            )
    return None


def _is_merge(pair: Any) -> bool:
    if isinstance(pair, str):
        return pair.count(" ") == 1
    return isinstance(pair, list) and list(map(type, cast("list[Any]", pair))) == [str, str]


def _fault_of_tables(normalizer: Any) -> Fault:
    """SentencePiece's table of replacements is unpacked without a check."""
    if not isinstance(normalizer, dict):
        return None
    found = cast("dict[str, Any]", normalizer)
    if found.get("type") == "Precompiled":
        table = found.get("precompiled_charsmap")
        try:
            valid = isinstance(table, str) and _is_table(base64.b64decode(table, validate=True))
        except ValueError:
            valid = False
        return None if valid else ("precompiled_charsmap is damaged", "precompiled_charsmap 已损坏")
    inner = found.get("normalizers")
    faults = map(_fault_of_tables, cast("list[Any]", inner) if isinstance(inner, list) else [])
    return next((fault for fault in faults if fault), None)


def _is_table(raw: bytes) -> bool:
    """Four bytes say how long the trie is, whose units have four bytes each; the texts behind it are UTF-8."""
    size = int.from_bytes(raw[:4], "little")
    if len(raw) < 4 or size % 4 or size > len(raw) - 4:
        return False
    try:
        raw[4 + size :].decode()
    except UnicodeDecodeError:
        return False
    return True


def read_model(path: Path) -> Any:
    """The protobuf (``sentencepiece_model_pb2.ModelProto``) of a SentencePiece model, which sentencepiece can load."""
    return parse_model(read_bytes(path), path)


def parse_model(raw: bytes, path: Path) -> Any:
    """As :func:`read_model`, of bytes; ``path`` is for messages."""
    try:
        import sentencepiece
        from google.protobuf.message import DecodeError
        from sentencepiece import sentencepiece_model_pb2
    except ImportError:
        raise missing_extra("sentencepiece and protobuf", "data") from None
    library: Any = sentencepiece_model_pb2
    proto: Any = library.ModelProto()
    try:
        proto.ParseFromString(raw)
        if not proto.pieces:
            raise ValueError("it has no pieces")
        loaded: Any = sentencepiece.SentencePieceProcessor()
        loaded.LoadFromSerializedProto(raw)
    except (DecodeError, RuntimeError, ValueError, TypeError, OSError) as error:
        raise UserError(
            f"tokenizer: {shown_path(path)} is not a SentencePiece model ({shown_error(error)}).",
            f"tokenizer: {shown_path(path)} 不是 SentencePiece 模型（{shown_error(error)}）。",
        ) from error
    return proto


def write_model(folder: Path, raw: bytes) -> None:
    """Write a folder's tokenizer.model, whole or not at all."""
    temporary = folder / f".tokenizer.model.{os.getpid()}.tmp"
    temporary.write_bytes(raw)
    os.replace(temporary, folder / "tokenizer.model")
