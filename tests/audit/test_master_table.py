"""The master table: what each framework applies for W = 10 and T = 100, floor 0.1 unless said, peak 1.

Each row was found by running the framework's own code. Columns are its index i, which is update i + 1; what is past the
end (i = 100 and more) stands as a number where the table has one, and always under its name. Cells have four digits, so
they agree to half of the last one. ``…`` is a cell that the table leaves out.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from huohou.audit.document import Document
from huohou.audit.examine import examine
from huohou.audit.looking import beyond, look
from huohou.audit.reading import Given, Role
from huohou.audit.source import Source
from huohou.errors import UserError

COLUMNS = (0, 1, 9, 10, 11, 99, 100, 101, 110)
Cell = float | str


def trainer(kind: str, **kwargs: Any) -> tuple[str, str]:
    words = f"'o', learning_rate=1.0, lr_scheduler_type={kind!r}, warmup_steps=10, max_steps=100"
    return "train.py", f"TrainingArguments({words}, lr_scheduler_kwargs={kwargs!r})\n"


def deepspeed(kind: str, **params: Any) -> tuple[str, str]:
    lengths = {} if kind == "WarmupLR" else {"total_num_steps": 100}
    most = {"warmup_max_lr": 1.0} if kind == "WarmupDecayLR" else {}
    written = {"warmup_num_steps": 10, **lengths, **most, **params}
    optimizer = {"type": "AdamW", "params": {"lr": 1.0}}
    scheduler = {"type": kind, "params": written}
    return "ds.json", json.dumps({"train_batch_size": 8, "optimizer": optimizer, "scheduler": scheduler})


def megatron(style: str) -> tuple[str, str]:
    return "run.sh", (
        "python pretrain_gpt.py --lr 1 --min-lr 0.1 --train-iters 100 --lr-warmup-iters 10 --global-batch-size 8 "
        f"--lr-decay-style {style}"
    )


def titan(words: str) -> tuple[str, str]:
    return "train.toml", f"[optimizer]\nlr = 1\n[training]\nsteps = 100\n[lr_scheduler]\nwarmup_steps = 10\n{words}"


def olmo(scheduler: str) -> tuple[str, str]:
    return "train.py", (
        "from olmo_core.optim import AdamWConfig\noptim = AdamWConfig(lr=1.0)\n"
        f"module = TransformerTrainModuleConfig(optim=optim, scheduler={scheduler})\n"
        "trainer = TrainerConfig(max_duration=Duration.steps(100))\n"
    )


def litgpt(batch: int, *, pretrain: bool = True) -> tuple[str, str]:
    return "train.yaml", (
        f"{'model_name' if pretrain else 'checkpoint_dir'}: m\noptimizer: {{init_args: {{lr: 1}}}}\n"
        f"train: {{global_batch_size: {batch}, micro_batch_size: 1, lr_warmup_steps: 10, max_steps: 100, min_lr: 0.1, "
        "save_interval: 1, log_interval: 1}\n"
    )


def torch(lines: str) -> tuple[str, str]:
    return "train.py", f"o = AdamW(m.parameters(), lr=1.0)\n{lines}\n"


def axolotl(words: str) -> tuple[str, str]:
    return "train.yml", (
        "base_model: m\nmicro_batch_size: 1\nsequence_len: 1\ndatasets: []\nlearning_rate: 1\nmax_steps: 100\n"
        f"warmup_steps: 10\n{words}"
    )


SEQUENCE = "s = SequentialLR(o, [LinearLR(o, 1e-3, 1.0, 10), CosineAnnealingLR(o, 90, 0.1)], milestones=[10])"
CHAIN = "s = ChainedScheduler([LinearLR(o, 1e-3, 1.0, 10), CosineAnnealingLR(o, 100, 0.1)])"
OPTAX = (
    "import optax\ns = optax.warmup_cosine_decay_schedule(0.0, 1.0, warmup_steps=10, decay_steps=100, end_value=0.1)\n"
)
TIMM = "s = CosineLRScheduler(o, warmup_prefix={}, lr_min=0.1, warmup_t=10, warmup_lr_init=0.0, t_in_epochs=False)"
CYCLE = torch("s = OneCycleLR(o, max_lr=1.0, total_steps=100, pct_start=0.1)")

# (row, the file, cells at COLUMNS, what comes past the end, the highest rate and the update that first has it)
TABLE: list[tuple[str, tuple[str, str], tuple[Cell, ...], str, tuple[float, int]]] = [
    ("HF linear", trainer("linear"), (0, 0.1, 0.9, 1, 0.9889, 0.0111, 0, 0, 0), "holds", (1, 11)),
    ("HF cosine", trainer("cosine"), (0, 0.1, 0.9, 1, 0.9997, 0.0003, 0, 0.0003, 0.0302), "rebounds", (1, 11)),
    ("HF cosine_with_restarts", trainer("cosine_with_restarts", num_cycles=2),
     (0, 0.1, 0.9, 1, 0.9988, 0.0012, 0, 0, 0), "holds", (1, 11)),
    ("HF polynomial", trainer("polynomial", lr_end=0.1), (0, 0.1, 0.9, 1, 0.99, 0.11, 0.1, 0.1, 0.1), "holds", (1, 11)),
    ("HF inverse_sqrt", trainer("inverse_sqrt"),
     (0, 0.1, 0.9, 1, 0.9535, 0.3178, 0.3162, 0.3147, 0.3015), "falls further", (1, 11)),
    ("HF cosine_with_min_lr", trainer("cosine_with_min_lr", min_lr_rate=0.1),
     (0, 0.1, 0.9, 1, 0.9997, 0.1003, 0.1, 0.1003, 0.1271), "rebounds", (1, 11)),
    ("HF cosine_warmup_with_min_lr", trainer("cosine_warmup_with_min_lr", min_lr_rate=0.1),
     (0.1, 0.2, 1, 0.9997, 0.9989, 0.1, 0.1003, 0.1011, 0.1328), "rebounds", (1, 10)),
    ("HF warmup_stable_decay, cosine", trainer("warmup_stable_decay", num_decay_steps=20, min_lr_ratio=0.1),
     (0.1, 0.19, 0.91, 1, 1, 0.1055, 0.1, 0.1, 0.1), "holds", (1, 11)),
    ("HF warmup_stable_decay, 1-sqrt", trainer("warmup_stable_decay", num_decay_steps=20, decay_type="1-sqrt"),
     (0, 0.1, 0.9, 1, 1, 0.0253, 0, 0, 0), "holds", (1, 11)),
    ("DeepSpeed WarmupLR", deepspeed("WarmupLR"), (0, 0, 0.9542, 1, 1, 1, 1, 1, 1), "holds", (1, 11)),
    ("DeepSpeed WarmupLR, linear", deepspeed("WarmupLR", warmup_type="linear"),
     (0, 0, 0.8, 0.9, 1, 1, 1, 1, 1), "holds", (1, 12)),
    ("DeepSpeed WarmupDecayLR", deepspeed("WarmupDecayLR"),
     (0, 0, 0.9542, 1, 1, 0.0222, 0.0111, 0, 0), "holds", (1, 11)),
    ("DeepSpeed WarmupDecayLR, linear", deepspeed("WarmupDecayLR", warmup_type="linear"),
     (0, 0, 0.8, 0.9, 1, 0.0222, 0.0111, 0, 0), "holds", (1, 12)),
    ("DeepSpeed WarmupCosineLR", deepspeed("WarmupCosineLR", cos_min_ratio=0.1),
     (0, 0, 0.9542, 1, 0.9997, 0.1003, 0.1, 0.1, 0.1), "holds", (1, 11)),
    ("DeepSpeed WarmupCosineLR, linear", deepspeed("WarmupCosineLR", cos_min_ratio=0.1, warmup_type="linear"),
     (0, 0, 0.8, 0.9, 0.9997, 0.1003, 0.1, 0.1, 0.1), "holds", (0.9997, 12)),
    ("Megatron linear", megatron("linear"), (0, 0.1, 0.9, 1, 0.99, 0.11, 0.1, 0.1, 0.1), "holds", (1, 11)),
    ("Megatron cosine", megatron("cosine"), (0, 0.1, 0.9, 1, 0.9997, 0.1003, 0.1, 0.1, 0.1), "holds", (1, 11)),
    ("Megatron inverse-square-root", megatron("inverse-square-root"),
     (0, 0.1, 0.9, 1, 0.9535, 0.3178, 0.3162, 0.1, 0.1), "holds", (1, 11)),
    ("Megatron WSD exponential", megatron("WSD --lr-wsd-decay-iters 20 --lr-wsd-decay-style exponential"),
     (0, 0.1, 0.9, 1, 1, 0.1317, 0.1, 0.1, 0.1), "holds", (1, 11)),
    ("Megatron WSD minus_sqrt", megatron("WSD --lr-wsd-decay-iters 20 --lr-wsd-decay-style minus_sqrt"),
     (0, 0.1, 0.9, 1, 1, 0.1228, 0.1, 0.1, 0.1), "holds", (1, 11)),
    ("torchtitan linear", titan("min_lr_factor = 0.1\n"),
     (0.1, 0.2, 1, 1, 0.99, 0.11, 0.1, 0.09, 0), "goes negative", (1, 10)),
    ("torchtitan WSD", titan('decay_ratio = 0.2\ndecay_type = "sqrt"\n'),
     (0.1, 0.2, 1, 1, 1, 0.0253, 0, -0.0247, -0.2247), "goes negative", (1, 10)),
    ("torchtitan total_steps 50", titan("total_steps = 50\n"),
     (0.1, 0.2, 1, 1, 0.975, -1.225, "…", "…", "…"), "goes negative", (1, 10)),
    ("OLMo-core cosine", olmo("CosWithWarmup(warmup=10)"),
     (0.1, 0.2, 1, 0.9997, 0.9989, 0.1, 0.1, 0.1, 0.1), "holds", (1, 10)),
    ("OLMo-core WSD", olmo("WSD(warmup=10, decay_fraction=0.2)"),
     (0.1, 0.2, 1, 1, 1, 0, -0.05, -0.1, -0.55), "goes negative", (1, 10)),
    ("OLMo-core power law", olmo("PowerLR(warmup=10)"),
     (0.1, 0.2, 1, 0.9526, 0.9112, 0, -0.0326, "…", "…"), "goes negative", (1, 10)),
    ("litgpt pretrain", litgpt(1), (0, 0.1, 0.9, 1, 0.9997, 0.1003, 0.1, 0.1, 0.1), "holds", (1, 11)),
    ("litgpt pretrain, accumulation 4", litgpt(4),
     (0.075, 0.175, 0.975, 0.9998, 0.9992, 0.1, 0.1, 0.1, 0.1), "holds", (0.9998, 11)),
    ("litgpt finetune", litgpt(1, pretrain=False),
     (0, 0.1, 0.9, 1, 0.9997, 0.0003, 0, 0.0003, 0.0302), "rebounds", (1, 11)),
    ("torch sequence", torch(SEQUENCE),
     (0.001, 0.1009, 0.9001, 1, 0.9997, 0.1003, 0.1, 0.1003, 0.1271), "rebounds", (1, 11)),
    ("torch chain", torch(CHAIN),
     (0.001, 0.1009, 0.8856, 0.9797, 0.9751, 0.1002, 0.1, 0.1002, 0.122), "rebounds", (0.9797, 11)),
    ("torch one cycle", CYCLE, (0.04, 0.0689, 1, 0.9997, 0.9988, 4e-6, 0.0003, "raises", "raises"), "raises", (1, 10)),
    ("nanochat", ("run.sh", "torchrun -m scripts.base_train -- --depth=12 --num-iterations=100 --warmup-steps=10\n"),
     (0.1, 0.2, 1, 1, 1, 0.0646, 0.05, 0.0354, -0.0962), "goes negative", (1, 10)),
    ("timm cosine", torch(TIMM.format("False, t_initial=100")),
     (0, 0.1, 0.9, 0.978, 0.9734, 0.1002, 0.1, 0.1, 0.1), "holds", (0.978, 11)),
    ("timm cosine, prefix", torch(TIMM.format("True, t_initial=90")),
     (0, 0.1, 0.9, 1, 0.9997, 0.1003, 0.1, 0.1, 0.1), "holds", (1, 11)),
    ("torchtune", (
        "train.yaml",
        "model: {_component_: torchtune.models.m}\noptimizer: {_component_: torch.optim.AdamW, lr: 1}\nepochs: 1\n"
        "lr_scheduler:\n  _component_: torchtune.training.lr_schedulers.get_cosine_schedule_with_warmup\n"
        "  num_warmup_steps: 10\nloss: {_component_: torchtune.modules.loss.L}\nmax_steps_per_epoch: 100\n",
    ), (0, 0.1, 0.9, 1, 0.9997, 0.0003, 0, 0.0003, 0.0302), "rebounds", (1, 11)),
    ("optax", ("train.py", OPTAX), (0, 0.1, 0.9, 1, 0.9997, 0.1003, 0.1, 0.1, 0.1), "holds", (1, 11)),
    ("axolotl REX", axolotl("lr_scheduler: rex\ncosine_min_lr_ratio: 0.1\n"),
     (0.1, 0.2, 1, 0.999, 0.998, 0.1, 0.1, 0.1, 0.1), "holds", (1, 10)),
    ("axolotl quadratic", axolotl("lr_quadratic_warmup: true\n"),
     (0, 0.01, 0.81, 1, 0.9997, 0.0003, 0, 0.0003, 0.0302), "rebounds", (1, 11)),
    ("axolotl held floor", axolotl("cosine_min_lr_ratio: 0.1\ncosine_constant_lr_ratio: 0.8\n"),
     (0, 0.1, 0.9, 1, 0.9995, 0.1, 0.1, 0.1, 0.1), "holds", (1, 11)),
]  # fmt: skip


def read(file: tuple[str, str]) -> Role:
    name, text = file
    # This one has no end of its own.
    given = Given(updates=100 if '"WarmupLR"' in text else None)
    (reading,) = examine(Document(Source(name, text, Path(name))), given).readings
    # nanochat has a curve for each of its optimizers, all of one shape.
    return reading.roles[0]


@pytest.mark.parametrize(("file", "cells", "name", "highest"), [pytest.param(*row[1:], id=row[0]) for row in TABLE])
def test_row(file: tuple[str, str], cells: tuple[Cell, ...], name: str, highest: tuple[float, int]) -> None:
    role = read(file)
    curve, peak = role.applied, role.applied.peak
    assert curve.updates == 100
    for i, cell in zip(COLUMNS, cells, strict=True):
        if cell == "raises":
            with pytest.raises(UserError):
                curve.rate(i + 1)
        elif isinstance(cell, float | int):
            assert curve.rate(i + 1) / peak == pytest.approx(cell, rel=0, abs=5.1e-5), i
    assert beyond(curve, role.horizon) == name
    most, update = highest
    assert look(curve).peak / peak == pytest.approx(most, rel=0, abs=5.1e-5)
    assert curve.rate(update) == pytest.approx(look(curve).peak, rel=1e-12)
    assert all(curve.rate(before) < curve.rate(update) for before in range(1, update))


def test_the_names_are_shown(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    from huohou.cli.main import main

    for place, (file, cells, name, _) in enumerate((TABLE[1][1:], TABLE[20][1:])):
        path = tmp_path / f"{place}{Path(file[0]).suffix}"
        path.write_text(file[1], encoding="utf-8")
        main(["audit", str(path), "--json", "--fail-on", "never"])
        curve = json.loads(capsys.readouterr().out)["curves"]["model"]
        assert curve["past_end"] == name and cells
        main(["audit", str(path), "--fail-on", "never"])
        assert name in capsys.readouterr().out
