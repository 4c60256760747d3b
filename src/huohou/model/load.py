"""Opening a causal language model of a folder or a hub: in our own decoder where it can, else in transformers."""

from __future__ import annotations

from collections.abc import Collection, Generator
from contextlib import contextmanager
from pathlib import Path

import torch

from huohou.errors import UserError, missing_extra
from huohou.model.config import ModelConfig, NotCovered
from huohou.model.folder import CONFIG, fill_decoder, read_decoder, suppressed_ids
from huohou.model.foreign import Foreign, without_bars
from huohou.model.hub import model_folder
from huohou.model.llama import Llama
from huohou.model.trust import check_config
from huohou.model.weights import Weights, read_json

ADAPTER = "adapter_config.json"


def open_model(
    path: str | Path,
    *,
    device: torch.device | str = "cpu",
    dtype: torch.dtype | None = None,
    revision: str | None = None,
    hub: str = "auto",
    remote_code: bool = False,
) -> Llama | Foreign:
    """The model of a folder or a hub's id, as ``dtype`` (``None``: as it is stored), on ``device``.

    Memory holds about one copy: the shape is made first, then tensors are read one by one. On the device ``meta``
    only the shape is made; :func:`fill_model` reads the tensors later, for our own decoder alone, since what another
    model computes once for itself would be missing. The model's own Python files are run only with
    ``remote_code``. Raises ``UserError`` for whatever is not a model that can be trained, before memory is taken.
    """
    folder = model_folder(path, revision=revision, hub=hub, remote_code=remote_code)
    where = folder / CONFIG
    if (folder / ADAPTER).is_file():
        raise UserError(
            f"{folder} is an adapter (it holds {ADAPTER}); give its base model as model.path and the adapter under "
            "lora.adapters.",
            f"{folder} 是适配器（其中有 {ADAPTER}）；请把它的基础模型写为 model.path，把适配器写在 lora.adapters 下。",
        )
    values = read_json(where)
    check_config(values, where, remote_code=remote_code)
    if values.get("quantization_config"):
        raise UserError(
            f"{where}: the weights are quantised (quantization_config), and quantised weights cannot be trained; give "
            "the model they were made from.",
            f"{where}：权重已量化（quantization_config），量化后的权重不能训练；请给出量化之前的模型。",
        )
    try:
        if values.get("auto_map"):
            raise _own_code(where)
        config = ModelConfig.from_huggingface(values, str(where))
    except NotCovered:
        return _open_foreign(folder, device, dtype, remote_code)
    return read_decoder(folder, config, open_weights(folder), device, dtype)


def fill_model(model: Llama, folder: Path, names: Collection[str] | None = None) -> None:
    """Put a folder's tensors into our own decoder before it grows: ``names`` of its parameters, or all of them."""
    fill_decoder(model, open_weights(folder), names)


def open_weights(folder: Path) -> Weights:
    """A folder's safetensors, or where it has only pickles of tensors, these, read without running anything."""
    pickles = sorted(folder.glob("pytorch_model*.bin"))
    if pickles and not any(folder.glob("*.safetensors")):
        from huohou.model.pickled import unpickled

        return unpickled(*pickles)
    return Weights(folder)


def _own_code(where: Path) -> NotCovered:
    return NotCovered(f"{where}: the model brings its own code.", f"{where}：模型自带代码。")


def _open_foreign(folder: Path, device: torch.device | str, dtype: torch.dtype | None, remote_code: bool) -> Foreign:
    try:
        from transformers import AutoConfig, AutoModelForCausalLM
    except ImportError:
        raise missing_extra("transformers", "hub") from None
    # The headers are checked here; reading is transformers' work, which knows each model's names.
    weights = open_weights(folder)
    with _said_by_transformers(folder):
        config = AutoConfig.from_pretrained(folder, trust_remote_code=remote_code, local_files_only=True)
        if torch.device(device).type == "meta":
            with torch.device("meta"):
                base = AutoModelForCausalLM.from_config(config, trust_remote_code=remote_code, dtype=dtype)
        else:
            base, found = AutoModelForCausalLM.from_pretrained(  # pyright: ignore[reportGeneralTypeIssues]
                folder if weights.path == folder else weights.path,
                config=config,
                dtype=dtype or "auto",
                trust_remote_code=remote_code,
                local_files_only=True,
                use_safetensors=True,
                output_loading_info=True,
            )
            _refuse_parts(folder, found)
            base = base.to(device)
    model = Foreign(base, suppressed_ids(folder, base.get_input_embeddings().num_embeddings))
    return model.train()


def _refuse_parts(folder: Path, found: dict[str, object]) -> None:
    """transformers draws at random what a folder lacks, and goes on."""
    for key, en, zh in (
        ("missing_keys", "lacks", "缺少"),
        ("mismatched_keys", "has in another shape", "形状不符"),
    ):
        names = sorted(map(str, found.get(key) or ()))  # pyright: ignore[reportArgumentType,reportCallIssue]
        if names:
            more = f" (+{len(names) - 1})" if len(names) > 1 else ""
            raise UserError(f"{folder} {en}: {names[0]}{more}.", f"{folder} {zh}：{names[0]}{more}。")


@contextmanager
def _said_by_transformers(folder: Path) -> Generator[None]:
    """A folder that transformers cannot make a model of, as one sentence; its progress bars stay away."""
    try:
        with without_bars():
            yield
    except UserError:
        raise
    except Exception as error:
        why = " ".join(str(error).split())[:240] or type(error).__name__
        raise UserError(
            f"transformers makes no causal language model of {folder}: {why}",
            f"transformers 无法把 {folder} 读作因果语言模型：{why}",
        ) from error
