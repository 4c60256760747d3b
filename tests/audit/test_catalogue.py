"""Failures of the catalogue in the forms in which people met them: each is found by one of the rules it is given to."""

from __future__ import annotations

from pathlib import Path

import pytest

from huohou.audit.document import Document
from huohou.audit.examine import examine
from huohou.audit.reading import Given
from huohou.audit.rules.coverage import CATALOGUE
from huohou.audit.source import Source

TORCH = "import torch\noptimizer = torch.optim.AdamW(model.parameters(), lr=1e-3)\n"
SCHEDULERS = "from torch.optim.lr_scheduler import *\n"
MEGATRON = (
    "torchrun pretrain_gpt.py --lr 3e-4 --min-lr 3e-5 --lr-decay-style cosine --global-batch-size 64 "
    "--micro-batch-size 1 --train-iters 1000 --lr-warmup-iters 100 "
)
SFT = "stage: sft\ndo_train: true\nmodel_name_or_path: m\nfinetuning_type: lora\nlearning_rate: 1.0e-4\n"
AXOLOTL = "base_model: m\nmicro_batch_size: 1\nsequence_len: 512\ndatasets:\n  - path: d\nlearning_rate: 1e-4\n"


def deepspeed(kind: str, params: str) -> str:
    return (
        '{"train_batch_size": 8, "optimizer": {"type": "AdamW", "params": {"lr": 1e-4}}, '
        f'"scheduler": {{"type": "{kind}", "params": {{{params}}}}}}}'
    )


FAILURES: list[tuple[str, str, str, Given]] = [
    (
        "A1",
        "train.py",
        "from accelerate import Accelerator\naccelerator = Accelerator()\n" + TORCH + "from transformers import *\n"
        "schedule = get_scheduler('cosine', optimizer, num_warmup_steps=10, num_training_steps=100)\n"
        "model, optimizer, schedule = accelerator.prepare(model, optimizer, schedule)\n",
        Given(updates=100, gpus=8),
    ),
    (
        "A2",
        "train.py",
        "class Trainer:\n    def __init__(self):\n        self.opt = torch.optim.AdamW(m.parameters(), lr=1e-4)\n"
        "        self.sched = torch.optim.lr_scheduler.CosineAnnealingLR(self.opt, T_max=999)\n"
        "    def train(self):\n        for i, batch in enumerate(self.loader):\n            loss.backward()\n"
        "            if (i + 1) % self.args.grad_accum == 0 or i + 1 == len(self.loader):\n                self.opt.step()\n"
        "            self.sched.step()\n",
        Given(updates=1000),
    ),
    (
        "A3",
        "train.py",
        "import lightning as L\nfrom transformers import get_linear_schedule_with_warmup\n\n"
        "class M(L.LightningModule):\n    def configure_optimizers(self):\n"
        "        opt = torch.optim.AdamW(self.parameters(), lr=1e-4)\n"
        "        sched = get_linear_schedule_with_warmup(opt, num_warmup_steps=4000, num_training_steps=40000)\n"
        "        return [opt], [sched]\n",
        Given(updates=40000),
    ),
    (
        "A4",
        "run.yaml",
        "model_name: m\ntokenizer_dir: t\ntrain:\n  save_interval: 9\n  log_interval: 1\n  global_batch_size: 32\n"
        "  micro_batch_size: 8\n  lr_warmup_steps: 10\n  max_steps: 100\n  min_lr: 1e-5\neval:\n  interval: 9\n"
        "optimizer:\n  init_args:\n    lr: 1e-4\n",
        Given(),
    ),
    ("B2", "ds.json", deepspeed("WarmupLR", '"warmup_num_steps": 100'), Given(updates=500, versions={"deepspeed": "0.14"})),
    (
        "B4",
        "ds.json",
        deepspeed("WarmupCosineLR", '"total_num_steps": 100, "warmup_num_steps": 10, "warmup_type": "linear"'),
        Given(updates=100),
    ),
    (
        "B5",
        "train.py",
        TORCH + "from timm.scheduler import CosineLRScheduler\n"
        "s = CosineLRScheduler(optimizer, t_initial=100, warmup_t=10, warmup_lr_init=1e-5, t_in_epochs=False)\n",
        Given(updates=100),
    ),
    (
        "B8",
        "train.py",
        TORCH + SCHEDULERS + "s = SequentialLR(optimizer, [SequentialLR(optimizer, [LinearLR(optimizer, 0.1, 1.0, 9), "
        "ConstantLR(optimizer, 1.0, 9)], [9]), CosineAnnealingLR(optimizer, 90)], [18])\n",
        Given(updates=100),
    ),
    ("B10", "run.sh", MEGATRON + "--lr-decay-iters 900\n", Given()),
    (
        "C1",
        "run.sh",
        "swift sft --model m --dataset d --streaming true --max_steps 1000000000000000000000000 --warmup_ratio 0.05\n",
        Given(),
    ),
    ("C2", "run.yaml", SFT + "num_train_epochs: 3\nmax_steps: 500\nwarmup_steps: 10\n", Given()),
    ("C3", "train.py", TORCH + SCHEDULERS + "s = CosineAnnealingLR(optimizer, T_max=200)\n", Given(updates=1000)),
    (
        "C4",
        "train.py",
        "from olmo_core.optim import AdamWConfig\noptim = AdamWConfig(lr=1e-3)\n"
        "module = TransformerTrainModuleConfig(optim=optim, scheduler=WSD(warmup=10, decay=20, t_max=50))\n"
        "trainer = TrainerConfig(max_duration=Duration.steps(100))\n",
        Given(),
    ),
    ("C6", "run.sh", MEGATRON + "--lr-decay-iters 5000\n", Given()),
    ("C7", "run.yaml", SFT + "lr_scheduler_type: warmup_stable_decay\nwarmup_steps: 10\nmax_steps: 500\n", Given()),
    ("C8", "run.yaml", SFT + "lr_scheduler_type: cosine\nwarmup_steps: 500\nmax_steps: 500\n", Given()),
    (
        "C9",
        "train.py",
        "from olmo_core.optim import AdamWConfig\noptim = AdamWConfig(lr=1e-3)\n"
        "module = TransformerTrainModuleConfig(optim=optim, scheduler=WSD(warmup=10, decay_fraction=0.0))\n"
        "trainer = TrainerConfig(max_duration=Duration.steps(100))\n",
        Given(),
    ),
    ("D2", "ds.json", deepspeed("WarmupLR", '"warmup_num_steps": 9'), Given(updates=99, versions={"deepspeed": "0.16.4"})),
    ("D6", "run.yml", AXOLOTL + "lr_scheduler: cosine\nwarmup_steps: 0\nmax_steps: 500\n", Given()),
    (
        "D8",
        "run.sh",
        "swift sft --model m --dataset d --use_galore true --warmup_steps 0.03 --max_steps 500 --learning_rate 1e-4\n",
        Given(),
    ),
    (
        "D9",
        "train.py",
        TORCH + SCHEDULERS
        + "s = ChainedScheduler([LinearLR(optimizer, 0.01, 1.0, 10), CosineAnnealingLR(optimizer, 100)])\n",
        Given(updates=100),
    ),
    (
        "D11",
        "train.py",
        "import optax\ns = optax.warmup_cosine_decay_schedule(0.0, 1e-3, warmup_steps=w, decay_steps=total - w)\n",
        Given(updates=100),
    ),
    ("D14", "run.sh", MEGATRON.replace("--lr-warmup-iters 100", "--lr-warmup-fraction 0.1 --lr-decay-iters 2000") + "\n", Given()),
    ("E3", "run.sh", MEGATRON + "--load out --use-checkpoint-opt-param-scheduler\n", Given()),
    (
        "F1",
        "train.py",
        "from torch.cuda.amp import GradScaler\nscaler = GradScaler()\n" + TORCH + SCHEDULERS
        + "s = CosineAnnealingLR(optimizer, 99)\nfor b in loader:\n    scaler.scale(loss(b)).backward()\n"
        "    scaler.step(optimizer)\n    scaler.update()\n    s.step()\n",
        Given(updates=100),
    ),
    ("H1", "run.sh", MEGATRON + "--rampup-batch-size 16 16 5000\n", Given()),
    ("H2", "run.sh", MEGATRON + "--curriculum-learning-legacy\n", Given()),
]  # fmt: skip


@pytest.mark.parametrize(
    ("number", "name", "text", "given"), [pytest.param(*failure, id=failure[0]) for failure in FAILURES]
)
def test_a_failure_is_found_by_a_rule_it_is_given_to(number: str, name: str, text: str, given: Given) -> None:
    entry = next(entry for entry in CATALOGUE if entry.number == number)
    found = {finding.rule for finding in examine(Document(Source(name, text, Path(name))), given).findings}
    assert found & set(entry.rules), found
