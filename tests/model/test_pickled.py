"""Weights in pickles: tensors come out, and nothing in the file is ever run."""

from __future__ import annotations

import io
import os
import pickle
import zipfile
from pathlib import Path
from typing import Any

import pytest
import torch

from huohou.errors import UserError
from huohou.model.pickled import unpickled

# Every test waits for a process that imports torch.
pytestmark = pytest.mark.heavy

TENSORS = {"a.weight": torch.arange(6.0).view(2, 3), "b": torch.ones(4, dtype=torch.float16)}


@pytest.mark.parametrize("wrapped", [None, "state_dict", "model"], ids=["plain", "state_dict", "model"])
def test_tensors_come_out(tmp_path: Path, wrapped: str | None) -> None:
    content = TENSORS if wrapped is None else {wrapped: TENSORS, "epoch": 3}
    torch.save(content, tmp_path / "a.pth", _use_new_zipfile_serialization=wrapped is not None)
    weights = unpickled(tmp_path / "a.pth")
    assert set(weights.names()) == set(TENSORS)
    for name, tensor in TENSORS.items():
        assert torch.equal(weights.get(name), tensor)
        assert weights.dtype(name) == tensor.dtype
    folder = weights.path
    assert folder.is_dir()
    del weights
    assert not folder.exists()


def test_several_files_are_one_model(tmp_path: Path) -> None:
    torch.save({"a": torch.ones(2)}, tmp_path / "pytorch_model-1.bin")
    torch.save({"b": torch.zeros(2)}, tmp_path / "pytorch_model-2.bin")
    weights = unpickled(*sorted(tmp_path.glob("*.bin")))
    assert set(weights.names()) == {"a", "b"}


class Malicious:
    """Makes a file when it is unpickled."""

    def __init__(self, canary: Path) -> None:
        self.canary = canary

    def __reduce__(self) -> tuple[Any, ...]:
        return os.mkdir, (str(self.canary),)


def through_state(canary: Path) -> object:
    return {"a.weight": torch.ones(2), "rng": Malicious(canary)}


def through_eval(canary: Path) -> object:
    class Eval:
        def __reduce__(self) -> tuple[Any, ...]:
            return eval, (f"__import__('os').mkdir({str(canary)!r})",)

    return [Eval()]


@pytest.mark.parametrize(
    ("make", "form"),
    [(Malicious, "zip"), (through_state, "zip"), (through_eval, "legacy"), (Malicious, "bare")],
    ids=["zip", "beside tensors", "eval", "bare"],
)
def test_nothing_is_executed(tmp_path: Path, make: Any, form: str) -> None:
    canary, file = tmp_path / "canary", tmp_path / "bad.pth"
    if form == "bare":
        file.write_bytes(pickle.dumps(make(canary)))
    else:
        torch.save(make(canary), file, _use_new_zipfile_serialization=form == "zip")
    with pytest.raises(UserError) as caught:
        unpickled(file)
    assert not canary.exists()
    assert str(file) in caught.value.text.en
    if form != "bare":
        assert "wants more than tensors" in caught.value.text.en
        assert "mkdir" in caught.value.text.en or "eval" in caught.value.text.en
    # The file would have done it.
    if form == "bare":
        pickle.loads(file.read_bytes())
        assert canary.exists()


@pytest.mark.parametrize(
    ("content", "sentence"),
    [
        ([torch.ones(2)], "no table of named tensors"),
        ({"a": 3}, "no table of named tensors"),
        ({}, "no table of named tensors"),
        ({"a": torch.ones(2).to_sparse()}, "no table of named tensors"),
    ],
    ids=["list", "number", "empty", "sparse"],
)
def test_anything_but_named_tensors_is_refused(tmp_path: Path, content: Any, sentence: str) -> None:
    torch.save(content, tmp_path / "a.pth")
    with pytest.raises(UserError, match=sentence):
        unpickled(tmp_path / "a.pth")


def test_damaged_and_swollen_files_are_refused(tmp_path: Path) -> None:
    buffer = io.BytesIO()
    torch.save(TENSORS, buffer)
    whole = buffer.getvalue()
    (tmp_path / "cut.pth").write_bytes(whole[: len(whole) // 2])
    with pytest.raises(UserError, match="cannot be read as weights"):
        unpickled(tmp_path / "cut.pth")
    with zipfile.ZipFile(tmp_path / "bomb.pth", "w", zipfile.ZIP_DEFLATED) as bomb:
        bomb.writestr("archive/data.pkl", b"\0" * 10_000_000)
    with pytest.raises(UserError, match="more than the file has"):
        unpickled(tmp_path / "bomb.pth")
    with pytest.raises(UserError, match="does not exist"):
        unpickled(tmp_path / "none.pth")
