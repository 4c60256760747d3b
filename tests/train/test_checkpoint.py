from __future__ import annotations

import errno
import json
import os
import pickle
import random
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from huohou.errors import UserError
from huohou.train import saving, state
from huohou.train.checkpoint import Found, Snapshot, clean, find, load
from huohou.train.manifest import NAME, Position, Unusable, read_manifest
from huohou.train.optim import OptimizerSettings, make_optimizer
from huohou.train.saving import SaveFailed, save


def snapshot(update: int) -> Snapshot:
    tensors = {"model": {"weight": torch.full((64, 8), float(update))}, "random": {"torch": torch.get_rng_state()}}
    return Snapshot(
        Position(update, update + 1, update * 100), tensors, {"counters": {"update": update}}, {"plan": "p"}
    )


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Checkpoints of the updates 1 and 2."""
    for update in (1, 2):
        save(tmp_path / "checkpoints", snapshot(update), keep=3)
    return tmp_path / "checkpoints"


def newest(folder: Path) -> int | None:
    found = find(folder).newest
    return found.manifest.position.update if found else None


def test_what_is_written_is_read(folder: Path) -> None:
    found = find(folder)
    assert found.newest is not None and not found.unusable
    loaded = load(found.newest)
    assert loaded.position == Position(2, 3, 200)
    assert torch.equal(loaded.tensors["model"]["weight"], torch.full((64, 8), 2.0))
    assert loaded.plain == {"counters": {"update": 2}}
    assert loaded.plan == {"plan": "p"}


def test_only_safetensors_and_json_are_written(folder: Path) -> None:
    names = {path.name for path in (folder / "checkpoint-2").iterdir()}
    assert names == {NAME, "state.json", "model.safetensors", "random.safetensors"}


def test_loaded_tensors_do_not_hang_on_the_file(folder: Path) -> None:
    found = find(folder).newest
    assert found is not None
    weight = load(found).tensors["model"]["weight"]
    weight.add_(1)
    assert newest(folder) == 2
    maps = Path("/proc/self/maps")
    if maps.exists():
        # A mapped file cannot be removed on Windows, and must not be on others.
        assert str(found.folder) not in maps.read_text(encoding="utf-8")


def test_the_newest_are_kept(folder: Path) -> None:
    for update in (3, 4):
        save(folder, snapshot(update), keep=2)
    assert sorted(p.name for p in folder.iterdir()) == ["checkpoint-3", "checkpoint-4"]
    save(folder, snapshot(5), keep=0)
    assert [p.name for p in folder.iterdir()] == ["checkpoint-5"]


def test_a_copy_under_another_name_is_found_and_never_removed(folder: Path) -> None:
    shutil.copytree(folder / "checkpoint-2", folder / "best")
    shutil.rmtree(folder / "checkpoint-2")
    assert newest(folder) == 2
    for update in (3, 4):
        save(folder, snapshot(update), keep=1)
    assert sorted(p.name for p in folder.iterdir()) == ["best", "checkpoint-4"]


def test_the_newest_is_known_by_what_it_says_not_by_name_or_time(folder: Path) -> None:
    (folder / "checkpoint-2").rename(folder / "checkpoint-0")
    os.utime(folder / "checkpoint-0", (0, 0))
    assert newest(folder) == 2


class Cut(Exception):
    """The machine stopped here."""


def steps(update: int, folder: Path) -> list[Callable[[], None]]:
    return saving._Writing(folder, snapshot(update), 2).steps()


@pytest.mark.parametrize("count", range(10))
def test_a_kill_after_any_step_leaves_a_good_checkpoint(folder: Path, count: int) -> None:
    writing = steps(3, folder)
    assert len(writing) == 10
    for step in writing[:count]:
        step()
    assert newest(folder) == (3 if count >= 9 else 2)
    left = clean(folder)
    assert bool(left) == (1 <= count <= 8)
    save(folder, snapshot(3), keep=2)
    assert newest(folder) == 3
    assert sorted(p.name for p in folder.iterdir()) == ["checkpoint-2", "checkpoint-3"]


@pytest.mark.parametrize("remaining", range(6))
def test_a_kill_while_one_is_removed_leaves_the_others(
    folder: Path, remaining: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    def half(path: Path) -> None:
        for file in sorted(path.iterdir())[remaining:]:
            file.unlink()
        raise Cut

    monkeypatch.setattr(shutil, "rmtree", half)
    with pytest.raises(Cut):
        saving._remove(folder / "checkpoint-1")
    monkeypatch.undo()
    assert newest(folder) == 2
    assert not find(folder).unusable
    assert len(clean(folder)) == 1


@pytest.mark.parametrize("name", ["make_folder", "write_tensors", "write_plain", "write_manifest", "rename", "finish"])
@pytest.mark.parametrize(
    ("fault", "message"),
    [
        (OSError(errno.ENOSPC, "No space left on device"), r"disk is full: .*checkpoint-3 .* needed, .* free"),
        (OSError(errno.EIO, "Input/output error"), r"checkpoint-3 could not be written: Input/output error"),
        (KeyboardInterrupt(), None),
    ],
)
def test_a_failed_save_leaves_no_debris(
    folder: Path, monkeypatch: pytest.MonkeyPatch, name: str, fault: BaseException, message: str | None
) -> None:
    real = getattr(saving._Writing, name)

    def fail(self: Any, *arguments: Any) -> None:
        if name == "finish":
            real(self, *arguments)
        raise fault

    monkeypatch.setattr(saving._Writing, name, fail)
    with pytest.raises(SaveFailed if message else KeyboardInterrupt, match=message):
        save(folder, snapshot(3), keep=1)
    assert sorted(p.name for p in folder.iterdir()) == ["checkpoint-1", "checkpoint-2"]
    assert newest(folder) == 2


def test_a_full_disk_met_by_safetensors_is_told_too(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from safetensors import SafetensorError

    def full(*_: Any) -> None:
        raise SafetensorError("Error while serializing: I/O error: No space left on device (os error 28)")

    monkeypatch.setattr(saving, "save_file", full)
    with pytest.raises(SaveFailed, match="disk is full"):
        save(folder, snapshot(3), keep=1)
    assert newest(folder) == 2


def test_too_little_space_is_told_before_anything_is_written(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    usage = shutil.disk_usage(folder)
    monkeypatch.setattr(shutil, "disk_usage", lambda path: usage._replace(free=3_000_000))
    save(folder, snapshot(3), keep=3)
    big = Snapshot(Position(4, 4, 4), {"model": {"w": torch.zeros(700_000)}}, {}, {})
    with pytest.raises(SaveFailed, match=r"3\.4 MB needed, 3\.0 MB free"):
        save(folder, big, keep=3)
    assert newest(folder) == 3


def test_an_unwritable_place_is_told(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("", encoding="utf-8")
    with pytest.raises(SaveFailed, match="could not be written: Not a directory"):
        save(tmp_path / "file" / "checkpoints", snapshot(1), keep=1)


def flips(path: Path, count: int) -> list[tuple[int, int]]:
    draw = random.Random(path.name)
    return [(draw.randrange(path.stat().st_size), 1 << draw.randrange(8)) for _ in range(count)]


@pytest.mark.parametrize("name", [NAME, "state.json", "model.safetensors", "random.safetensors"])
def test_any_flipped_bit_is_found_and_the_previous_one_used(folder: Path, name: str) -> None:
    path = folder / "checkpoint-2" / name
    whole = path.read_bytes()
    for place, bit in flips(path, 60):
        damaged = bytearray(whole)
        damaged[place] ^= bit
        path.write_bytes(damaged)
        found = find(folder)
        assert found.newest is not None and found.newest.manifest.position.update == 1, (place, bit)
        assert name in found.unusable[0].text.en or found.unusable[0].kind == "newer"
    path.write_bytes(whole)
    assert newest(folder) == 2


def edit_manifest(folder: Path, **changes: Any) -> None:
    path = folder / NAME
    path.write_text(json.dumps({**json.loads(path.read_text("utf-8")), **changes}), encoding="utf-8")


@pytest.mark.parametrize(
    ("damage", "message"),
    [
        (lambda f: (f / "model.safetensors").write_bytes(b""), r"model.safetensors has 0 bytes and should have \d+"),
        (lambda f: os.truncate(f / "model.safetensors", 100), r"model.safetensors has 100 bytes"),
        (lambda f: (f / "state.json").unlink(), "state.json is missing"),
        (lambda f: (f / "extra.safetensors").write_bytes(b""), "extra.safetensors does not belong to it"),
        (lambda f: (f / NAME).write_text("{", encoding="utf-8"), f"{NAME} is not whole"),
        (lambda f: (f / NAME).write_text("[" * 100_000, encoding="utf-8"), f"{NAME} is not whole"),
        (lambda f: (f / NAME).write_text("[]", encoding="utf-8"), f"{NAME} is not what was written"),
        (lambda f: edit_manifest(f, update=99), f"{NAME} is not what was written"),
        (lambda f: (f / NAME).unlink(), rf"not a checkpoint of huohou: it has no {NAME}"),
    ],
)
def test_damage_is_named(folder: Path, damage: Callable[[Path], Any], message: str) -> None:
    damage(folder / "checkpoint-2")
    found = find(folder)
    assert newest(folder) == 1
    with pytest.raises(Unusable, match=message):
        raise found.unusable[0]


def test_a_damaged_one_is_replaced_when_the_run_comes_by_again(folder: Path) -> None:
    (folder / "checkpoint-2" / "state.json").unlink()
    save(folder, snapshot(2), keep=3)
    assert newest(folder) == 2
    assert not find(folder).unusable


def test_a_newer_format_is_told_apart(folder: Path) -> None:
    edit_manifest(folder / "checkpoint-2", format=2)
    error = find(folder).unusable[0]
    assert error.kind == "newer"
    assert "newer version of huohou (format 2, this one reads 1)" in error.text.en


def test_hidden_files_of_a_file_manager_do_no_harm(folder: Path) -> None:
    (folder / "checkpoint-2" / ".DS_Store").write_bytes(b"")
    assert newest(folder) == 2


@pytest.mark.parametrize("name", ["../outside.safetensors", "/etc/hostname", "a/b.safetensors", ".hidden"])
def test_a_manifest_cannot_name_what_lies_elsewhere(folder: Path, name: str) -> None:
    place = folder / "checkpoint-2"
    real = read_manifest(place)
    entry = real.files["state.json"]
    forged = type(real)(real.position, real.plan, {**real.files, name: entry})
    (place / NAME).write_text(forged.render(), encoding="ascii")
    assert newest(folder) == 1
    assert "not a plain file" in find(folder).unusable[0].text.en


@pytest.mark.skipif(os.name == "nt", reason="making links needs a privilege on Windows")
def test_a_link_is_not_followed(folder: Path) -> None:
    path = folder / "checkpoint-2" / "state.json"
    path.rename(folder / "elsewhere")
    path.symlink_to(folder / "elsewhere")
    assert newest(folder) == 1


class Canary:
    """A pickle that leaves a file when it is loaded."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def __reduce__(self) -> tuple[Any, ...]:
        return Path.touch, (self.path,)


@pytest.mark.parametrize("name", ["pytorch_model.bin", "rng_state.pth", "optimizer.pt", ".metadata"])
def test_a_foreign_pickle_is_refused_and_not_run(tmp_path: Path, name: str) -> None:
    folder = tmp_path / "checkpoints" / "checkpoint-9"
    folder.mkdir(parents=True)
    (folder / name).write_bytes(pickle.dumps(Canary(tmp_path / "canary")))
    found = find(tmp_path / "checkpoints")
    assert found.newest is None
    assert f"its {name} is a pickle" in found.unusable[0].text.en
    assert not (tmp_path / "canary").exists()
    pickle.loads((folder / name).read_bytes())
    assert (tmp_path / "canary").exists()


def test_nothing_is_found_where_nothing_is(tmp_path: Path) -> None:
    assert find(tmp_path / "none") == Found(None, ())
    assert clean(tmp_path / "none") == []


def test_cleaning_removes_only_debris(folder: Path) -> None:
    for name in ("checkpoint-3.tmp-0123abcd", "checkpoint-1.old-0123abcd", "mine.tmp-0123abcd", "checkpoint-7.tmp-x"):
        (folder / name).mkdir()
    assert clean(folder) == ["checkpoint-1.old-0123abcd", "checkpoint-3.tmp-0123abcd"]
    assert (folder / "mine.tmp-0123abcd").exists()


def test_every_file_and_the_folders_are_flushed(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    flushed: list[str] = []

    def note(handle: int) -> None:
        flushed.append(os.path.basename(os.readlink(f"/proc/self/fd/{handle}")))  # noqa: PTH115, PTH119

    if not Path("/proc/self/fd").exists():
        pytest.skip("this system does not tell which file a handle is")
    monkeypatch.setattr(os, "fsync", note)
    save(folder, snapshot(3), keep=3)
    files, beside, parent = flushed[:4], flushed[4], flushed[5]
    assert files == ["model.safetensors", "random.safetensors", "state.json", NAME]
    assert beside.startswith("checkpoint-3.tmp-")
    assert parent == "checkpoints"


def trained() -> tuple[torch.nn.Module, torch.optim.Optimizer]:
    torch.manual_seed(3)
    model = torch.nn.Sequential(torch.nn.Linear(4, 4), torch.nn.LayerNorm(4), torch.nn.Linear(4, 4))
    model[2].weight = model[0].weight
    optimizer = make_optimizer(model, OptimizerSettings())
    model(torch.ones(1, 4)).square().sum().backward()
    optimizer.step()
    return model, optimizer


def test_the_whole_state_comes_back() -> None:
    model, optimizer = trained()
    tensors, plain = state.random_state()
    drawn = (random.random(), np.random.rand(), torch.rand(3))
    other, fresh = trained()
    for parameter in other.parameters():
        torch.nn.init.zeros_(parameter)
    fresh.state.clear()
    state.load_model(other, {k: v.clone() for k, v in state.model_tensors(model).items()})
    state.load_optimizer(fresh, other, {k: v.clone() for k, v in state.optimizer_tensors(optimizer, model).items()})
    state.load_random(tensors, json.loads(json.dumps(plain)))
    assert (random.random(), np.random.rand()) == drawn[:2]
    assert torch.equal(torch.rand(3), drawn[2])
    assert all(torch.equal(a, b) for a, b in zip(model.parameters(), other.parameters(), strict=True))
    for a, b in zip(optimizer.state.values(), fresh.state.values(), strict=True):
        assert a.keys() == b.keys() and all(torch.equal(a[key], b[key]) for key in a)


def test_a_shared_parameter_is_kept_once() -> None:
    assert set(state.model_tensors(trained()[0])) == {"0.weight", "0.bias", "1.weight", "1.bias", "2.bias"}


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda t: t.pop("0.bias"), "its model state lacks 0.bias"),
        (lambda t: t.update(other=torch.ones(1)), "its model state has an unknown other"),
        (lambda t: t.update({"0.bias": torch.ones(5)}), r"0.bias has shape \(5,\), the model \(4,\)"),
    ],
)
def test_the_state_of_another_model_is_refused(change: Callable[[Any], Any], message: str) -> None:
    model, _ = trained()
    tensors = {k: v.clone() for k, v in state.model_tensors(model).items()}
    change(tensors)
    with pytest.raises(UserError, match=message):
        state.load_model(model, tensors)


def test_the_state_of_another_optimizer_is_refused() -> None:
    model, optimizer = trained()
    with pytest.raises(UserError, match="its optimizer state has an unknown x"):
        state.load_optimizer(optimizer, model, {"x/exp_avg": torch.ones(4)})
    with pytest.raises(UserError, match="shape"):
        state.load_optimizer(optimizer, model, {"0.bias/exp_avg": torch.ones(5)})
