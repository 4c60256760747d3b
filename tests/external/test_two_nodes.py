"""torchrun on two machines, which are two network namespaces of this one with a cable between them.

Needs root and the command ``ip`` (iproute2). What stands in the way of real clusters shows here: the processes find
each other by an address that is not this machine's loopback, and gloo goes over a named interface.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from huohou import records

pytestmark = [pytest.mark.external, pytest.mark.slow]

RUN = """\
name: small
model: {hidden_size: 16, intermediate_size: 32, num_hidden_layers: 2, num_attention_heads: 2,
        num_key_value_heads: 1, max_position_embeddings: 64}
tokenizer: {vocab_size: 300}
data: {train: poems.txt, split: line, validation: 10%, sequence_length: 32}
batch: {size: 8, micro_batch: 2}
schedule: {peak: 1e-3, warmup: 25%, decay: cosine}
train: {updates: 20, evaluate_every: 10, threads: 1, timeout: 60, device: cpu}
checkpoint: {every: 10, keep: 3}
"""
ADDRESSES = ("10.213.77.1", "10.213.77.2")


def ip(*words: str) -> None:
    subprocess.run(["ip", *words], check=True, capture_output=True)


@pytest.fixture
def nodes() -> Iterator[list[str]]:
    """The names of two namespaces that reach each other and nothing else."""
    if shutil.which("ip") is None or not hasattr(os, "geteuid") or os.geteuid() != 0:
        pytest.skip("needs root and ip")
    names = [f"huohou{os.getpid()}{side}" for side in "ab"]
    cables = [f"hh{os.getpid() % 100000}{side}" for side in "ab"]
    try:
        for name in names:
            ip("netns", "add", name)
        ip("link", "add", cables[0], "type", "veth", "peer", "name", cables[1])
        for name, cable, address in zip(names, cables, ADDRESSES, strict=True):
            ip("link", "set", cable, "netns", name)
            ip("-n", name, "addr", "add", f"{address}/24", "dev", cable)
            ip("-n", name, "link", "set", cable, "up")
            ip("-n", name, "link", "set", "lo", "up")
    except subprocess.CalledProcessError as error:
        for name in names:
            subprocess.run(["ip", "netns", "del", name], check=False, capture_output=True)
        pytest.skip(f"this machine allows no network namespaces: {error.stderr.decode(errors='replace').strip()}")
    yield [f"{name}:{cable}" for name, cable in zip(names, cables, strict=True)]
    for name in names:
        subprocess.run(["ip", "netns", "del", name], check=False, capture_output=True)


def start(folder: Path, node: str, rank: int, *words: str) -> subprocess.Popen[str]:
    name, cable = node.split(":")
    torchrun = [sys.executable, "-m", "torch.distributed.run", "--nnodes", "2", "--nproc-per-node", "1"]
    where = ["--node-rank", str(rank), "--master-addr", ADDRESSES[0], "--master-port", "29531"]
    return subprocess.Popen(
        ["ip", "netns", "exec", name, *torchrun, *where, "-m", "huohou", "train", "run.yaml", *words],
        cwd=folder,
        env={**os.environ, "GLOO_SOCKET_IFNAME": cable, "OMP_NUM_THREADS": "1", "HUOHOU_LANG": "en"},
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )


def lines(folder: Path) -> list[dict[str, Any]]:
    return list(records.read(folder / "metrics.jsonl"))


@pytest.mark.parametrize("engine", ["ddp", "fsdp2"])
def test_two_machines_train_what_one_process_does(tmp_path: Path, nodes: list[str], engine: str) -> None:
    poems = [f"春眠不觉晓，处处闻啼鸟。夜来风雨声，花落知多少。第{i}首，{'山水' * (i % 5)}。" for i in range(120)]
    (tmp_path / "poems.txt").write_text("\n".join(poems) + "\n", encoding="utf-8")
    (tmp_path / "run.yaml").write_text(RUN, encoding="utf-8")
    both = [start(tmp_path, node, rank, "name=two", f"train.engine={engine}") for rank, node in enumerate(nodes)]
    said = [process.communicate(timeout=240)[0] for process in both]
    assert [process.returncode for process in both] == [0, 0], "\n".join(said)
    assert "planned == applied: 20 of 20 updates" in said[0]
    assert "update" not in said[1]
    command = [sys.executable, "-m", "huohou", "train", "run.yaml", "name=one"]
    subprocess.run(command, cwd=tmp_path, check=True, capture_output=True)
    one, two = lines(tmp_path / "runs" / "one"), lines(tmp_path / "runs" / "two")
    assert [line["rate"] for line in one] == [line["rate"] for line in two]
    for a, b in zip(one, two, strict=True):
        assert a["loss"] == pytest.approx(b["loss"], rel=1e-6)
