"""Where a model's files are: a folder as it stands, or a hub's id, looked for on this machine before anywhere else.

Nothing here needs torch. A model that was downloaded once is found without a network; with one, Hugging Face is
asked at ``HF_ENDPOINT``, or ModelScope where that was chosen.
"""

from __future__ import annotations

import json
import os
import re
from collections.abc import Collection
from pathlib import Path
from typing import Any

from huohou.errors import UserError, missing_extra

HUBS = ("auto", "huggingface", "modelscope")
"""``auto`` looks into the caches of both and then asks Hugging Face."""

ENDPOINT = "https://huggingface.co"
_ID = re.compile(r"[A-Za-z0-9][\w.-]*/[\w.-]+")
# What a model's folder needs at its top; other files (demos, other formats, pictures) stay where they are.
_SETTINGS = ("*.json", "*.model", "*.tiktoken", "*.txt", "*.jinja")


def model_folder(
    path: str | Path, *, revision: str | None = None, hub: str = "auto", remote_code: bool = False
) -> Path:
    """The local folder of a model: ``path`` itself, or what it names on a hub.

    ``revision`` is a branch, tag or commit. Python files are only fetched with ``remote_code``. Raises ``UserError``
    for a folder that does not exist, an id that no hub knows, one that needs a consent or a token, and where it is
    neither on this machine nor to be had for want of a network.
    """
    if hub not in HUBS:
        raise UserError(
            f"model.hub is {hub!r}; it must be one of {', '.join(HUBS)}.",
            f"model.hub 是 {hub!r}；应为 {'、'.join(HUBS)}。",
        )
    folder = Path(path).expanduser()
    if folder.is_dir():
        return folder
    name = str(path)
    if folder.exists() or not _ID.fullmatch(name):
        raise UserError(
            f"{name} is no folder, and no id of a hub either (owner/name); write the path of a Hugging Face folder.",
            f"{name} 不是文件夹，也不是模型库里的编号（所有者/名称）；请写 Hugging Face 文件夹的路径。",
        )
    found = None
    if hub != "modelscope":
        found = _hugging_face_cache(name, revision)
    if found is None and hub != "huggingface":
        found = _modelscope_cache(name, revision)
    if found is not None:
        return found
    if hub == "modelscope":
        return _modelscope(name, revision, _patterns(remote_code))
    return _hugging_face(name, revision, _patterns(remote_code))


def _patterns(remote_code: bool) -> list[str]:
    return [*_SETTINGS, *(["*.py"] if remote_code else [])]


def _whole(folder: Path) -> bool:
    """Whether a cached folder has a config and every file of weights; a broken download has not."""
    if not (folder / "config.json").is_file():
        return False
    for index in ("model.safetensors.index.json", "pytorch_model.bin.index.json"):
        try:
            names = set(json.loads((folder / index).read_text(encoding="utf-8"))["weight_map"].values())
        except (OSError, ValueError, TypeError, KeyError, AttributeError):
            continue
        if all((folder / str(name)).is_file() for name in names):
            return True
    return any((folder / name).is_file() for name in ("model.safetensors", "pytorch_model.bin"))


def _hugging_face_cache(name: str, revision: str | None) -> Path | None:
    """A snapshot in Hugging Face's cache. It need not hold what the model does not need, which the library minds."""
    try:
        from huggingface_hub import try_to_load_from_cache
    except ImportError:
        return None
    found = try_to_load_from_cache(name, "config.json", revision=revision)
    folder = Path(found).parent if isinstance(found, str) else None
    return folder if folder is not None and _whole(folder) else None


def _hugging_face(name: str, revision: str | None, patterns: list[str]) -> Path:
    """A snapshot downloaded into Hugging Face's cache."""
    try:
        import huggingface_hub
        from huggingface_hub import errors
    except ImportError:
        raise missing_extra("huggingface_hub", "hub") from None
    endpoint = os.environ.get("HF_ENDPOINT", "").rstrip("/") or ENDPOINT
    shown = f"{name}@{revision}" if revision else name
    try:
        # This question is asked once; others are repeated for half a minute where there is no network.
        about = huggingface_hub.HfApi(endpoint=endpoint).model_info(name, revision=revision, timeout=10)
        files = [file.rfilename for file in about.siblings or ()]
        wanted = [*patterns, _weight_pattern(shown, files)]
        return Path(
            huggingface_hub.snapshot_download(
                name, revision=revision, allow_patterns=wanted, ignore_patterns=["*/*"], endpoint=endpoint
            )
        )
    except errors.GatedRepoError:
        raise UserError(
            f"{shown} is only given to those who accepted its terms: do that at {endpoint}/{name}, then run "
            "'hf auth login'.",
            f"{shown} 需要先同意其条款：请在 {endpoint}/{name} 上操作，然后运行 hf auth login。",
        ) from None
    except (errors.RepositoryNotFoundError, errors.RevisionNotFoundError):
        raise UserError(
            f"{endpoint} has no model {shown}, or keeps it private; check the spelling, or write hub: modelscope if it "
            "is there.",
            f"{endpoint} 上没有 {shown}，或它不公开；请检查拼写，如果在 ModelScope 上请写 hub: modelscope。",
        ) from None
    except (OSError, ValueError, TypeError, KeyError, RuntimeError, *_network_errors(errors)) as error:
        # A mirror may answer anything.
        why = str(error).splitlines()[0][:160] if str(error) else type(error).__name__
        raise UserError(
            f"{shown} is not on this machine and could not be had from {endpoint} ({why}); set HF_ENDPOINT to a "
            "mirror, write hub: modelscope, or give the path of a folder.",
            f"本机没有 {shown}，也无法从 {endpoint} 获取（{why}）；请把 HF_ENDPOINT 设为镜像地址，"
            "或写 hub: modelscope，或给出文件夹的路径。",
        ) from None


def _network_errors(errors: Any) -> tuple[type[Exception], ...]:
    """What the library's transport raises; it changed its transport before."""
    return tuple(base for base in errors.HfHubHTTPError.__mro__ if base.__name__ == "HTTPError")


def _weight_pattern(name: str, files: Collection[str]) -> str:
    """Which files hold the weights: safetensors, or where there are none the pickles, which are read with care."""
    for ending in (".safetensors", ".bin"):
        if any("/" not in file and file.endswith(ending) for file in files):
            return f"*{ending}"
    raise UserError(
        f"{name} holds no safetensors and no .bin files, so there are no weights in it to train.",
        f"{name} 中没有 safetensors 或 .bin 文件，没有可训练的权重。",
    )


def _modelscope_cache(name: str, revision: str | None) -> Path | None:
    """ModelScope's own cache, in which a dot of the name is three underscores; it holds one revision of each."""
    if revision is not None:
        return None
    home = Path(os.environ.get("MODELSCOPE_CACHE") or "~/.cache/modelscope/hub").expanduser()
    owner, model = name.split("/")
    for root in (home, home / "models", home / "hub", home / "hub" / "models"):
        for spelled in (model.replace(".", "___"), model):
            if _whole(root / owner / spelled):
                return root / owner / spelled
    return None


def _modelscope(name: str, revision: str | None, patterns: list[str]) -> Path:
    try:
        from modelscope import snapshot_download  # pyright: ignore[reportMissingImports]
    except ImportError:
        raise missing_extra("modelscope", "modelscope") from None
    try:
        folder = snapshot_download(name, revision=revision, allow_patterns=[*patterns, "*.safetensors"])
    except Exception as error:
        # ModelScope raises its own and its transport's errors of many kinds; all of them mean that it is not here.
        why = str(error).splitlines()[0][:160] if str(error) else type(error).__name__
        raise UserError(
            f"{name} is not on this machine and could not be had from ModelScope ({why}); check the spelling and the "
            "network, or give the path of a folder.",
            f"本机没有 {name}，也无法从 ModelScope 获取（{why}）；请检查拼写和网络，或给出文件夹的路径。",
        ) from None
    return Path(folder)
