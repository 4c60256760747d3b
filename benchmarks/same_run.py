"""One training run for both sides: the same model, the same packed blocks in the same order, the same settings.

huohou gets a run file and its token cache, the Trainer's script the blocks of each update as a file and its settings
as JSON; both files hold the same numbers.
"""

from __future__ import annotations

import json
import sys
from dataclasses import asdict, dataclass
from pathlib import Path

from benchmarks.measure import ROOT, module
from benchmarks.measure import run as run_process

PEAK, WARMUP, BETAS, EPS, WEIGHT_DECAY, CLIP = 1e-3, 0.1, (0.9, 0.95), 1e-8, 0.1, 1.0


@dataclass(frozen=True, slots=True)
class Setting:
    """A model and its batches: Hugging Face's names, T positions a sequence, B sequences an update."""

    name: str
    hidden_size: int
    intermediate_size: int
    num_hidden_layers: int
    num_attention_heads: int
    vocab_size: int
    sequence_length: int
    batch: int
    characters: int
    threads: int = 2

    @property
    def tokens(self) -> int:
        """Of one update."""
        return self.sequence_length * self.batch


SETTINGS = {
    setting.name: setting
    for setting in (
        Setting("S", 256, 688, 6, 4, 4096, 256, 8, 2_000_000),
        Setting("XS", 128, 344, 4, 4, 4096, 128, 8, 2_000_000),
        Setting("smoke", 32, 64, 1, 2, 300, 16, 2, 20_000),
    )
}
"""S has 5.8M parameters, XS 1.3M."""


@dataclass(frozen=True, slots=True)
class SameRun:
    """A prepared run. ``folder`` holds everything; nothing in it changes while sides are measured."""

    folder: Path
    setting: Setting
    updates: int

    def huohou(self, output: Path, *more: str, seed: int = 0) -> list[str]:
        """The arguments of ``huohou train``."""
        run = str(self.folder / "run.yaml")
        return ["train", run, f"output={output}", f"train.updates={self.updates}", f"seed={seed}", *more, "--quiet"]

    def trainer(self, output: Path, *, seed: int = 0) -> Path:
        """The settings of the Transformers Trainer's script, written beside its output."""
        settings = {
            **asdict(self.setting),
            "blocks": str(self.folder / "blocks.npy"),
            "output": str(output),
            "updates": self.updates,
            "seed": seed,
            "peak": PEAK,
            "warmup": WARMUP,
            "betas": BETAS,
            "eps": EPS,
            "weight_decay": WEIGHT_DECAY,
            "max_grad_norm": CLIP,
        }
        path = output.with_suffix(".json")
        path.write_text(json.dumps(settings), encoding="utf-8")
        return path

    def evaluate(self, model: Path) -> float:
        """The loss of a trained model on the held-out sequences, in nats per token: one judge for all."""
        ran = run_process(module("evaluate", self.folder / "run.yaml", model), cwd=ROOT)
        return json.loads(ran.output)["loss"]


def prepare(folder: Path, setting: Setting, updates: int) -> SameRun:
    """Write the run file, make the token cache, and write the blocks of ``updates`` updates."""
    folder.mkdir(parents=True, exist_ok=True)
    # JSON is YAML.
    run = {
        "name": "huohou",
        "model": {
            "hidden_size": setting.hidden_size,
            "intermediate_size": setting.intermediate_size,
            "num_hidden_layers": setting.num_hidden_layers,
            "num_attention_heads": setting.num_attention_heads,
            "num_key_value_heads": setting.num_attention_heads,
            "max_position_embeddings": setting.sequence_length,
            "tie_word_embeddings": True,
        },
        "tokenizer": {"vocab_size": setting.vocab_size},
        "data": {
            "embedded": {"characters": setting.characters},
            "validation": "5%",
            "sequence_length": setting.sequence_length,
            "cache": str(folder / "cache"),
        },
        "batch": {"size": setting.batch, "micro_batch": setting.batch},
        "schedule": {"peak": PEAK, "warmup": f"{WARMUP:.0%}", "decay": "cosine", "floor": 0},
        "optimizer": {"betas": list(BETAS), "eps": EPS, "weight_decay": WEIGHT_DECAY, "max_grad_norm": CLIP},
        "train": {"updates": updates, "device": "cpu", "threads": setting.threads, "evaluate_every": "off"},
        "checkpoint": {"every": "off"},
    }
    (folder / "run.yaml").write_text(json.dumps(run, indent=2), encoding="utf-8")
    run_process(module("same_run", folder, updates), cwd=ROOT)
    return SameRun(folder, setting, updates)


def _write_blocks(folder: Path, updates: int) -> None:
    """In the order in which huohou reads them. A process of its own, so that the measuring one stays small."""
    import numpy as np

    from huohou.config import load_run
    from huohou.data.order import Order
    from huohou.plan.facts import prepare as prepare_run

    run = load_run(str(folder / "run.yaml"))
    prepared = prepare_run(run)
    order = Order(prepared.train.count, int(run.batch.size), run.seed)  # pyright: ignore[reportArgumentType]
    indices = np.concatenate([order.batch(number) for number in range(updates)])
    blocks = np.concatenate([prepared.train.batch(indices[i : i + 256]).inputs for i in range(0, len(indices), 256)])
    np.save(folder / "blocks.npy", blocks.astype(np.uint16))


if __name__ == "__main__":
    _write_blocks(Path(sys.argv[1]), int(sys.argv[2]))
