"""What the doctor says of versions, machines, run files and models' folders; it needs no torch and no network."""

from __future__ import annotations

import json
import re
import shutil
import subprocess
import sys
from collections import namedtuple
from pathlib import Path
from typing import Any

import pytest

from huohou.cli.main import main
from huohou.doctor import abilities, machine, packages, torch_probe
from huohou.doctor import target as target_module
from huohou.doctor.check import Check
from huohou.doctor.target import target
from huohou.language import Text

CPU: dict[str, Any] = {
    "version": "2.13.0+cpu", "cuda_build": None, "hip_build": None, "cuda": False, "devices": [], "threads": 2, "mps": False,
    "triton": False, "gloo": True, "nccl": False, "fsdp2": True,
}  # fmt: skip
GPU = {"name": "A", "memory": 80e9, "free": 70e9, "capability": [9, 0]}
Usage = namedtuple("Usage", "total used free")


def by_key(checks: Any) -> dict[str, Check]:
    return {check.key: check for check in checks}


@pytest.mark.parametrize(
    ("found", "specs", "fine"),
    [
        ("2.13.0+cpu", ">=2.11,<2.17", True), ("2.9.1", "<2.10", True), ("2.10.0", "<2.10", False), ("2.10.0rc1", "<2.10", False),
        ("2.10.0rc1", ">=2.10", False), ("5.0.0rc2", "<5.0", False), ("4.57.1", ">=4.56,<5.3", True), ("5.3.0", ">=4.56,<5.3", False),
        ("3.1.6", "==3.1.*", True), ("3.2", "==3.1.*", False), ("1.0", "!=1.0", False), ("0.22", ">=0.22,<0.24", True), ("6", "", True),
    ],
)  # fmt: skip
def test_ranges(found: str, specs: str, fine: bool) -> None:
    assert packages.fits(found, specs) is fine


def test_packages(monkeypatch: pytest.MonkeyPatch) -> None:
    wanted = [
        "numpy<3,>=2.0",
        'torch<2.17,>=2.11; extra == "train"',
        'peft>=0.20; extra == "lora"',
        'ruff>=1; extra == "dev"',
        'huohou[data]; extra == "train"',
    ]
    have = {"numpy": "2.4.0", "torch": "2.5.0", "transformers": "5.1.0", "jinja2": "3.1.6"}
    monkeypatch.setattr(packages, "requires", lambda _: wanted)
    monkeypatch.setattr(packages, "installed", have.get)
    found = by_key(packages.packages())
    assert found["numpy"].status == "ok"
    assert found["torch"].status == "bad" and "outside <2.17,>=2.11" in found["torch"].text.en
    assert found["peft"].status == "note" and "huohou[lora]" in found["peft"].text.en
    assert "ruff" not in found and "huohou" not in found
    assert {"CVE-2026-24747", "CVE-2025-32434", "CVE-2026-4372"} <= set(found)
    assert not {"CVE-2026-1839", "CVE-2025-27516"} & set(found)
    have.clear()
    assert by_key(packages.packages())["numpy"].status == "bad"


def test_everything_is_said_in_both_languages(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    checks = [
        *machine.machine(),
        *packages.packages(),
        *machine.tools(),
        *machine.disk(tmp_path),
        *machine.text(),
        *machine.network(),
    ]
    for torch in (None, {"error": "x"}, CPU, {**CPU, "devices": [GPU, GPU], "nccl": True, "triton": True}):
        checks += abilities.abilities(torch)
    assert len(checks) > 40
    for check in checks:
        assert check.text.en and check.text.zh and check.area and check.key
        assert not re.search("[\u4e00-\u9fff]", check.text.en.replace("汉字", "")), check.text.en
        json.dumps(check.plain())
    assert not list(tmp_path.iterdir())


def test_abilities(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(abilities, "installed", lambda name: "1.0" if name != "bitsandbytes" else None)
    none = by_key(abilities.abilities(None))
    assert none["plan"].data and not none["train_cpu"].data and "gloo" not in none
    assert by_key(abilities.abilities({"error": "libcudart is missing"}))["train_cpu"].status == "bad"
    monkeypatch.setattr(abilities, "compilers", lambda: {"c": "cc", "c++": None})
    cpu = by_key(abilities.abilities(CPU))
    assert cpu["train_cpu"].data and cpu["gloo"].data and cpu["fsdp2"].data
    assert "build for CPUs" in cpu["train_cuda_bf16"].text.en
    assert "needs a C++ compiler" in cpu["compile"].text.en
    assert "bitsandbytes not installed" in cpu["qlora"].text.en
    old = by_key(abilities.abilities({**CPU, "cuda_build": "12", "devices": [{**GPU, "capability": [7, 0]}]}))
    assert not old["train_cuda_bf16"].data and old["train_cuda_fp16"].data and "triton" in old["compile"].text.en
    two = by_key(abilities.abilities({**CPU, "devices": [GPU, GPU], "nccl": True, "triton": True}))
    assert two["nccl"].data and two["train_cuda_bf16"].data and two["compile"].data
    monkeypatch.setattr(abilities, "loopback", lambda: Text("no loopback", "没有回环"))
    cut = by_key(abilities.abilities(CPU))
    assert [cut[key].data for key in ("gloo", "fsdp2", "deepspeed")] == [False] * 3


def test_secrets_of_a_proxy_are_not_shown(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("https_proxy", "http://name:secret@proxy:80")
    monkeypatch.setenv("HF_TOKEN", "hf_secret")
    said = json.dumps([check.plain() for check in machine.network()], ensure_ascii=False)
    assert "proxy:80" in said and "secret" not in said


def test_disk(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    found = by_key(machine.disk(tmp_path / "runs" / "new"))
    assert found["space"].status == "ok" and found["write"].data["fsync_seconds"] > 0
    assert not list(tmp_path.iterdir())
    monkeypatch.setattr(shutil, "disk_usage", lambda _: Usage(10**12, 10**12, 5 * 10**8))
    monkeypatch.setattr(machine, "file_system", lambda _: "tmpfs")
    full = by_key(machine.disk(tmp_path))
    assert full["space"].status == "bad" and "gone after a restart" in full["kind"].text.en


def model(folder: Path, **more: Any) -> Path:
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "config.json").write_text(json.dumps({"model_type": "llama", "vocab_size": 10} | more), encoding="utf-8")
    (folder / "model.safetensors").write_bytes(b"0" * 1000)
    return folder


@pytest.mark.parametrize(
    ("more", "key"),
    [
        ({"auto_map": {"AutoConfig": "x.py"}}, "auto_map"),
        ({"text_config": {"_attn_implementation_internal": "somebody/kernel"}}, "_attn_implementation_internal"),
        ({"quantization_config": {"bits": 4}}, "quantization_config"),
    ],
)
def test_a_hostile_or_quantised_model_is_said(tmp_path: Path, more: dict[str, Any], key: str) -> None:
    found = by_key(target(model(tmp_path / "m", **more), CPU))
    assert found[key].status == "bad" and found["weights"].status == "ok"
    assert all(check.status != "bad" for check in target(model(tmp_path / "good"), CPU))


def test_a_models_folder_without_what_it_needs(tmp_path: Path) -> None:
    folder = model(tmp_path / "m")
    (folder / "model.safetensors").rename(folder / "pytorch_model.bin")
    assert "pickled" in by_key(target(folder, CPU))["weights"].text.en
    (folder / "pytorch_model.bin").unlink()
    assert by_key(target(folder, CPU))["weights"].status == "bad"
    (folder / "config.json").write_text("[", encoding="utf-8")
    assert by_key(target(folder, CPU))["config.json"].status == "bad"
    assert by_key(target(tmp_path, CPU))["folder"].status == "bad"
    assert by_key(target(tmp_path / "none", CPU))["path"].status == "bad"


RUN = """\
data: {train: corpus.txt}
tokenizer: {vocab_size: 1000}
model: {preset: 0.5m}
schedule: {peak: 1e-3}
train: {updates: 10}
checkpoint: {every: 5, keep: 3}
"""


def test_a_run_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    path = tmp_path / "run.yaml"
    path.write_text(RUN, encoding="utf-8")
    found = by_key(target(path, CPU))
    assert found["data.train"].status == "bad" and "corpus.txt" in found["data.train"].text.en
    (tmp_path / "corpus.txt").write_text("春眠不觉晓\n" * 20, encoding="utf-8")
    found = by_key(target(path, CPU))
    assert found["data.train"].status == "ok" and found["space"].status == "ok"
    needed = found["space"].data["needed"]
    monkeypatch.setattr(target_module.shutil, "disk_usage", lambda _: Usage(10**9, 10**9, needed - 1))
    assert by_key(target(path, CPU))["space"].status == "bad"
    assert by_key(target(path, None))["torch"].status == "bad"
    path.write_text(RUN.replace("updates: 10", "updates: 10, device: cuda, engine: deepspeed"), encoding="utf-8")
    monkeypatch.setattr(target_module, "installed", lambda name: None)
    found = by_key(target(path, CPU))
    assert found["train.device"].status == "bad" and found["train.engine: deepspeed"].status == "bad"
    path.write_text(RUN.replace("updates", "updaets"), encoding="utf-8")
    assert "updaets" in by_key(target(path, CPU))["run_file"].text.en


def test_the_command(tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(torch_probe, "probe", lambda: CPU)
    status = main(["doctor", "--json"])
    plain = json.loads(capsys.readouterr().out)
    assert plain["good"] is (status == 0) and plain["torch"]["threads"] == 2
    assert main(["doctor", "--quick", "nowhere", "--lang", "zh"]) == 1
    out = capsys.readouterr().out
    assert "! nowhere 不存在" in out and "需要处理" in out
    assert not list(tmp_path.iterdir())


def test_the_probe_tells_what_breaks(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch_probe, "_QUESTION", "import sys; sys.exit('libcuda: cannot open')")
    assert torch_probe.probe() == {"error": "libcuda: cannot open"}
    monkeypatch.setattr(torch_probe, "_QUESTION", "import time; time.sleep(30)")
    assert torch_probe.probe(0.2) == {"error": "no answer within 0 s"}
    monkeypatch.setattr(torch_probe, "installed", lambda _: None)
    assert torch_probe.probe() is None


@pytest.mark.heavy
def test_the_probe_asks_torch() -> None:
    found = torch_probe.probe()
    assert found is not None and set(CPU) == set(found) and found["threads"] >= 1


def test_a_quick_look_needs_no_torch_and_no_network(tmp_path: Path) -> None:
    code = """
import socket, sys
def refuse(*_): raise AssertionError("the network was asked")
socket.getaddrinfo = socket.create_connection = refuse
from huohou.cli.main import main
assert main(["doctor", "--quick", "--json"]) in (0, 1)
assert not {"torch", "transformers", "peft"} & set(sys.modules)
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False, cwd=tmp_path)
    assert done.returncode == 0, done.stderr
