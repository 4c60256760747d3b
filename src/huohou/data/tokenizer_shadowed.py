"""Pieces of a vocabulary that no text is ever encoded as.

A piece occurs in texts if and only if its own spelling is encoded as this one piece
(:mod:`huohou.data.tokenizer_merges`; for a unigram model, because the best path through a text consists of best paths
through its parts). Where it is not, either nothing leads to it, or other pieces are joined before it can be: it is
shadowed. The pieces that Chinese-LLaMA-2 added with the score 0 are the example: all of them share one priority above
every old piece, so the leftmost pair goes first, whatever was learned.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from huohou.data.tokenizer import read_object
from huohou.data.tokenizer_checked import parse_model, read_bytes, read_fast
from huohou.data.tokenizer_converted import NORMAL
from huohou.data.tokenizer_parts import Parts, build

_BYTE = re.compile(r"<0x[0-9A-F]{2}>")


@dataclass(frozen=True, slots=True)
class Reach:
    """Ids of pieces; special tokens and byte pieces are not among them.

    ``pathless``: no two pieces make it. ``shadowed``: two do, but other pieces are joined first. ``pieces`` counts
    all that were looked at; ``tokens`` gives the spelling of each that does not occur.
    """

    pieces: int
    pathless: tuple[int, ...]
    shadowed: tuple[int, ...]
    tokens: dict[int, str]

    @property
    def lost(self) -> frozenset[int]:
        return frozenset(self.pathless) | frozenset(self.shadowed)

    def to_plain(self) -> dict[str, Any]:
        shown = [self.tokens[i] for i in sorted(self.lost)[:10]]
        return {"pieces": self.pieces, "pathless": len(self.pathless), "shadowed": len(self.shadowed),
                "examples": shown}  # fmt: skip


def reach_of(path: str | Path) -> Reach | None:
    """Which pieces of a folder, tokenizer.json or SentencePiece model occur; None for kinds that split otherwise."""
    path = Path(path).expanduser()
    if path.is_dir():
        file = next(file for file in (path / "tokenizer.json", path / "tokenizer.model") if file.is_file())
    else:
        file = path
    return _of_model(file) if file.suffix == ".model" else _of_merges(file)


def _of_model(path: Path) -> Reach:
    import sentencepiece

    proto = parse_model(read_bytes(path), path)
    # The pieces stand for themselves here: no space before them, and nothing folded.
    proto.normalizer_spec.Clear()
    proto.normalizer_spec.name = "identity"
    proto.normalizer_spec.add_dummy_prefix = False
    proto.normalizer_spec.remove_extra_whitespaces = False
    proto.DiscardUnknownFields()
    model: Any = sentencepiece.SentencePieceProcessor(model_proto=proto.SerializeToString())
    pieces = {i: piece.piece for i, piece in enumerate(proto.pieces) if piece.type == NORMAL}
    known = set(pieces.values())
    ids = dict(zip(pieces, model.encode(list(pieces.values())), strict=True))
    made = {piece for piece in known if any(piece[:k] in known and piece[k:] in known for k in range(1, len(piece)))}
    return _told(pieces, ids, made)


def _of_merges(path: Path) -> Reach | None:
    plain = read_fast(path)[1]
    model = plain["model"]
    if model.get("type", "BPE") not in ("BPE", "Unigram") or (model.get("type") is None and "merges" not in model):
        return None
    parts = Parts(path, plain)
    bare: dict[str, Any] = {**plain, "added_tokens": [], "normalizer": None, "pre_tokenizer": None, "decoder": None,
            "post_processor": None}  # fmt: skip
    if "merges" in model:
        # Llama-3 takes a stretch that is a piece without merging; inside longer stretches only merges lead to it.
        bare["model"] = {**model, "ignore_merges": False}
        vocab = {i: token for token, i in parts.vocab.items()}
        made = {left + right for left, right in parts.pairs}
    else:
        vocab = {i: row[0] for i, row in enumerate(model["vocab"])}
        made = set(vocab.values())
    special = {token["content"] for token in parts.added} | {model.get("unk_token")}
    pieces = {i: token for i, token in vocab.items() if token not in special and not _BYTE.fullmatch(token) and token}
    library = build(bare, path)
    encoded = library.encode_batch_fast(list(pieces.values()), add_special_tokens=False)
    ids = dict(zip(pieces, (one.ids for one in encoded), strict=True))
    return _told(pieces, ids, made)


def _told(pieces: dict[int, str], ids: dict[int, list[int]], made: set[str]) -> Reach:
    lost = [i for i in pieces if list(ids[i]) != [i]]
    return Reach(
        pieces=len(pieces),
        pathless=tuple(i for i in lost if pieces[i] not in made),
        shadowed=tuple(i for i in lost if pieces[i] in made),
        tokens={i: pieces[i] for i in lost},
    )


def settings_disagree(path: str | Path) -> dict[str, tuple[Any, Any]]:
    """Special tokens by role that tokenizer_config.json and special_tokens_map.json of a folder name differently."""
    folder = Path(path).expanduser()
    folder = folder if folder.is_dir() else folder.parent
    config, names = (read_object(folder / name) for name in ("tokenizer_config.json", "special_tokens_map.json"))
    found: dict[str, tuple[Any, Any]] = {}
    for role in ("bos_token", "eos_token", "pad_token", "unk_token"):
        if role in config and role in names:
            pair = _name(config[role]), _name(names[role])
            if pair[0] != pair[1]:
                found[role] = pair
    return found


def _name(token: Any) -> Any:
    return token.get("content") if isinstance(token, dict) else token  # pyright: ignore
