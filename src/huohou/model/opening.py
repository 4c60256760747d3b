"""A model to be used, not trained: from a run folder, a model's folder, an adapter's folder or a hub's id."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch

from huohou.data.tokenizer import Tokenizer
from huohou.errors import UserError
from huohou.model.adapter_apply import check_adapters, merge_adapters
from huohou.model.base import ADAPTER_CONFIG, Base, adapter_hash, identify, weights_hash
from huohou.model.folder import CONFIG
from huohou.model.foreign import Foreign
from huohou.model.hub import model_folder
from huohou.model.llama import Llama
from huohou.model.load import open_model
from huohou.model.weights import read_json
from huohou.records import RunFolder

DTYPES = {"float32": torch.float32, "bfloat16": torch.bfloat16, "float16": torch.float16}

_TOKENIZER_FILES = ("tokenizer.json", "tokenizer.model")


@dataclass(slots=True)
class Opened:
    """A model ready for use.

    ``folder`` holds its tokenizer, ``base`` its weights; ``adapters`` were merged into them, in this order.
    """

    model: Llama | Foreign
    tokenizer: Tokenizer
    folder: Path
    base: Path
    adapters: tuple[Path, ...]

    @property
    def device(self) -> torch.device:
        """Where the weights are."""
        return next(self.model.parameters()).device

    @property
    def dtype(self) -> str:
        """The type of the weights in memory."""
        return str(next(self.model.parameters()).dtype).removeprefix("torch.")

    def content_hash(self) -> str:
        """A hash of all weights as they lie on the disk, adapters included."""
        digest = hashlib.sha256(_hash_of(self.base).encode())
        for adapter in self.adapters:
            digest.update(adapter_hash(adapter).encode())
        return digest.hexdigest()

    def begin_id(self) -> int:
        """The token that stands before a text that nothing stands before.

        It is the begin token where the folder's tokenizer puts one there, else the end token: documents follow each
        other in training, so the first token of one was learned behind the end of another.
        """
        tokenizer = self.tokenizer
        if tokenizer.bos_id is not None and _adds_begin(self.folder, tokenizer.token_of(tokenizer.bos_id)):
            return tokenizer.bos_id
        return tokenizer.end_id


def open_for_use(
    path: str | Path,
    *,
    adapters: Sequence[Path] = (),
    device: str = "auto",
    dtype: str = "auto",
    revision: str | None = None,
    hub: str = "auto",
    remote_code: bool = False,
) -> Opened:
    """The model, its adapters merged into it, and its tokenizer.

    ``path`` is a run folder (what it trained: ``model``, or ``adapter`` on its base), a Hugging Face folder, an
    adapter's folder, or a hub's id. ``device`` ``auto`` takes a GPU where there is one; ``dtype`` ``auto`` takes
    float32 on a CPU, else the type in which the weights are stored. Raises ``UserError`` for what is none of these and
    for adapters that were trained on another base.
    """
    base, own = _parts(Path(path).expanduser())
    chosen = [*own, *(Path(adapter).expanduser() for adapter in adapters)]
    for adapter in chosen:
        if not (adapter / ADAPTER_CONFIG).is_file():
            raise UserError(
                f"{adapter} is no adapter: there is no {ADAPTER_CONFIG} in it.",
                f"{adapter} 不是适配器：其中没有 {ADAPTER_CONFIG}。",
            )
    where = model_folder(base, revision=revision, hub=hub, remote_code=remote_code)
    place = _device(device)
    kind = DTYPES.get(dtype, torch.float32 if place == "cpu" else None)
    if any(Base.read(adapter) is not None for adapter in chosen):
        check_adapters(chosen, identify(where))
    folder = next((one for one in reversed(chosen) if _has_tokenizer(one)), where)
    tokenizer = Tokenizer.load(folder)
    model = open_model(where, device=place, dtype=kind, remote_code=remote_code)
    merge_adapters(model, chosen)
    model.eval()
    return Opened(model, tokenizer, folder, where, tuple(chosen))


def _parts(path: Path) -> tuple[str | Path, list[Path]]:
    """(base: a folder or a hub's id, the adapters that belong to it)."""
    run = RunFolder(path)
    if run.plan.is_file():
        if (run.model / CONFIG).is_file():
            return run.model, []
        adapter = path / "adapter"
        if (adapter / ADAPTER_CONFIG).is_file():
            plan: Any = read_json(run.plan)
            lora = (plan.get("model") or {}).get("lora") or {}
            return _base_of(adapter), [*map(Path, lora.get("adapters") or ()), adapter]
        raise UserError(
            f"{path} is a run that has no model yet; let it finish (huohou train --resume), or export one of its "
            "checkpoints (huohou export).",
            f"训练目录 {path} 还没有模型；请让训练完成（huohou train --resume），"
            "或导出它的某个检查点（huohou export）。",
        )
    if (path / ADAPTER_CONFIG).is_file() and not (path / CONFIG).is_file():
        return _base_of(path), [path]
    return path if path.is_dir() else str(path), []


def _base_of(adapter: Path) -> str:
    """What an adapter says that it was trained on."""
    record = Base.read(adapter)
    named = record.path if record is not None else read_json(adapter / ADAPTER_CONFIG).get("base_model_name_or_path")
    if not isinstance(named, str) or not named:
        raise UserError(
            f"{adapter} does not say which model it was trained on; give that model, and the adapter as --adapter.",
            f"{adapter} 没有说明它是在哪个模型上训练的；请给出该模型，并用 --adapter 给出适配器。",
        )
    return named


def _device(device: str) -> str:
    if device != "auto":
        try:
            place = torch.device(device)
        except RuntimeError:
            place = None
        if place is None or (place.type == "cuda" and not torch.cuda.is_available()):
            raise UserError(
                f"--device {device}: this machine has no such device that torch can use; write cpu or auto.",
                f"--device {device}：本机没有 torch 可用的这种设备；请写 cpu 或 auto。",
            )
        return device
    return "cuda" if torch.cuda.is_available() else "cpu"


def _has_tokenizer(folder: Path) -> bool:
    return any((folder / name).is_file() for name in _TOKENIZER_FILES)


def _adds_begin(folder: Path, begin: str | None) -> bool:
    """Whether transformers' tokenizer of this folder would begin a text with this token."""
    config = _object(folder / "tokenizer_config.json")
    said = config.get("add_bos_token")
    if isinstance(said, bool):
        return said
    post = _object(folder / "tokenizer.json").get("post_processor")
    if isinstance(post, dict):
        return any(_first_token(one) == begin for one in (post, *(post.get("processors") or ())))
    return str(config.get("tokenizer_class", "")).startswith("Llama")


def _first_token(post: Any) -> str | None:
    """The token that a post-processor of the tokenizers library puts before a text."""
    if not isinstance(post, dict) or post.get("type") != "TemplateProcessing" or not post.get("single"):
        return None
    return (post["single"][0].get("SpecialToken") or {}).get("id")


def _object(path: Path) -> dict[str, Any]:
    return dict(read_json(path)) if path.is_file() else {}


def _hash_of(folder: Path) -> str:
    """The hash of a folder's weights; of the files' bytes where they are pickles."""
    pickles = sorted(folder.glob("pytorch_model*.bin"))
    if not pickles or any(folder.glob("*.safetensors")):
        return weights_hash(folder)
    digest = hashlib.sha256()
    for path in pickles:
        with open(path, "rb") as file:
            digest.update(hashlib.file_digest(file, "sha256").digest())
    return digest.hexdigest()
