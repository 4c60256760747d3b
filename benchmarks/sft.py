"""Instruction tuning beside TRL's SFTTrainer, in samples per second: its padded default, its packing, and huohou's.

All sides see the same dialogues once, on the same model, with the loss on the answers alone, at the same rates. TRL is
measured padded, as it comes, and packed with attention inside samples (``packing``, ``bfd``), which computes the same
loss; the batches of the packed sides hold about as many tokens as those of the padded one.
"""

from __future__ import annotations

import json
import math
import random
import sys
from dataclasses import asdict, dataclass
from functools import partial
from pathlib import Path
from typing import Any

from benchmarks.measure import ROOT, Ran, in_turn, module, ratio, spread
from benchmarks.measure import run as run_process
from benchmarks.results import Found, Options, Table, megabytes

PADDED, PACKED, OURS = "TRL, padded (default)", "TRL, packed", "huohou, packed"
TARGETS = {PADDED: "≥ 1.5", PACKED: "≥ 1.0"}


@dataclass(frozen=True, slots=True)
class Setting:
    """The model, the dialogues and the batches. ``median`` is the middle length of an answer in characters."""

    name: str
    samples: int
    median: int
    sequence_length: int
    padded_batch: int
    shape: dict[str, int]
    rounds: int
    threads: int = 2


SETTINGS = {
    "S": Setting(
        "S", 480, 110, 512, 8,
        {"hidden_size": 256, "intermediate_size": 688, "num_hidden_layers": 6, "num_attention_heads": 4}, 3,
    ),
    "smoke": Setting(
        "smoke", 24, 20, 96, 4,
        {"hidden_size": 32, "intermediate_size": 64, "num_hidden_layers": 1, "num_attention_heads": 2}, 1,
    ),
}  # fmt: skip


def run(options: Options) -> Found:
    """Make the dialogues and the model, run every side in turn, and compare."""
    setting = SETTINGS["smoke" if options.smoke else "S"]
    folder = options.work / "sft"
    folder.mkdir(parents=True)
    (folder / "setting.json").write_text(json.dumps(asdict(setting)), encoding="utf-8")
    dialogues(setting, folder / "dialogues.jsonl")
    run_process(module("sft", folder), cwd=ROOT)
    sides = {
        PADDED: partial(_trl, folder, packing=False),
        PACKED: partial(_trl, folder, packing=True),
        OURS: partial(_huohou, folder, setting),
    }
    measured = in_turn(sides, options.rounds or setting.rounds)
    speeds = {side: [setting.samples / ran.own["seconds"] for ran in found] for side, found in measured.items()}
    figures: dict[str, Any] = {
        side: {
            "samples_per_second": spread(speeds[side]),
            "huohou_times_faster": ratio(speeds[OURS], speeds[side]),
            "peak_bytes": spread([float(ran.peak_bytes or 0) for ran in found]),
            "updates": found[0].own["updates"],
            "last_loss": spread([ran.own["loss"] for ran in found]),
        }
        for side, found in measured.items()
    }
    rows = [
        [
            side,
            f"{figure['samples_per_second']['median']:.2f}",
            f"{figure['huohou_times_faster']['of_medians']:.2f}",
            f"{figure['huohou_times_faster']['min']:.2f}–{figure['huohou_times_faster']['max']:.2f}",
            megabytes(figure["peak_bytes"]["median"]),
            str(figure["updates"]),
            f"{figure['last_loss']['median']:.3f}",
            TARGETS.get(side, ""),
        ]
        for side, figure in figures.items()
    ]
    columns = ("side", "samples/s", "huohou ×", "range", "peak", "updates", "last loss", "target")
    return Found(Table(f"Instruction tuning ({setting.name})", columns, rows), asdict(setting), figures, measured)


def dialogues(setting: Setting, path: Path) -> None:
    """Questions with answers whose lengths are spread as in instruction sets: log-normal, σ = 0.8."""
    from huohou.data.embedded import documents

    source = "".join(documents(7, characters=setting.samples * setting.median * 4)).replace("\n", "")
    draw, place = random.Random(7), 0
    with open(path, "w", encoding="utf-8", newline="\n") as file:
        for _ in range(setting.samples):
            lengths = [max(8, round(setting.median / share * math.exp(draw.gauss(0, 0.8)))) for share in (4, 1)]
            question, answer = (source[place : place + lengths[0]], source[place + lengths[0] : place + sum(lengths)])
            place = (place + sum(lengths)) % (len(source) // 2)
            turns = [{"role": "user", "content": question}, {"role": "assistant", "content": answer}]
            file.write(json.dumps({"messages": turns}, ensure_ascii=False) + "\n")


def _trl(folder: Path, number: int, *, packing: bool) -> Ran:
    output = folder / f"trl-{packing}-{number}"
    ran = run_process(module("trl_sft", folder, output, int(packing), number), cwd=ROOT)
    own = json.loads((output / "measured.json").read_text(encoding="utf-8"))
    return Ran(**{**ran.plain(), "own": own})


def _huohou(folder: Path, setting: Setting, number: int) -> Ran:
    output = folder / f"huohou-{number}"
    arguments = ["train", str(folder / "run.yaml"), f"output={output}", f"seed={number}", "--quiet"]
    ran = run_process([sys.executable, "-m", "huohou", *arguments], cwd=ROOT)
    lines = [json.loads(line) for line in (output / "metrics.jsonl").read_text(encoding="utf-8").splitlines()]
    own = {"seconds": sum(line["seconds"] for line in lines), "updates": len(lines), "loss": lines[-1]["loss"]}
    return Ran(**{**ran.plain(), "own": own})


def prepare(folder: Path) -> None:
    """The model's folder with its tokenizer and template, and huohou's run file."""
    from huohou.data.chat_template import open_template
    from huohou.data.tokenizer_training import train_tokenizer
    from huohou.model import ModelConfig, build, write_model

    setting = Setting(**json.loads((folder / "setting.json").read_text(encoding="utf-8")))
    lines = (folder / "dialogues.jsonl").read_text(encoding="utf-8").splitlines()
    texts = [turn["content"] for line in lines for turn in json.loads(line)["messages"]]
    tokenizer = train_tokenizer(texts, 4096 if setting.name == "S" else 400)
    # TRL finds the answers by the template's generation tags.
    tokenizer.chat_template = open_template("chatml", tokenizer).source
    special = {"bos_token_id": tokenizer.bos_id, "eos_token_id": tokenizer.eos_id, "pad_token_id": tokenizer.pad_id}
    shape = {
        **setting.shape,
        **special,
        "num_key_value_heads": setting.shape["num_attention_heads"],
        "max_position_embeddings": setting.sequence_length,
        "vocab_size": tokenizer.vocab_size,
        "tie_word_embeddings": True,
    }
    write_model(build(ModelConfig.from_huggingface(shape, "benchmark"), seed=0), folder / "model", tokenizer)
    run_file = {
        "name": "sft",
        "stage": "sft",
        "model": {"path": str(folder / "model")},
        "data": {
            "train": str(folder / "dialogues.jsonl"),
            "sequence_length": setting.sequence_length,
            "packing": True,
            "cache": str(folder / "cache"),
        },
        "batch": {"size": max(1, setting.padded_batch // 3), "micro_batch": max(1, setting.padded_batch // 3)},
        "schedule": {"peak": 1e-4, "warmup": "off", "decay": "constant"},
        "optimizer": {"betas": [0.9, 0.999], "weight_decay": 0.0, "max_grad_norm": 1.0},
        "train": {"epochs": 1, "device": "cpu", "threads": setting.threads, "evaluate_every": "off"},
        "checkpoint": {"every": "off"},
    }
    (folder / "run.yaml").write_text(json.dumps(run_file, indent=2, ensure_ascii=False), encoding="utf-8")
    run_process([sys.executable, "-m", "huohou", "plan", str(folder / "run.yaml"), "--exact"], cwd=ROOT)


if __name__ == "__main__":
    prepare(Path(sys.argv[1]))
