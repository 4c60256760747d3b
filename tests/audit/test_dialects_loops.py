"""Dialects of training loops whose schedulers are stepped by somebody else: per rollout, micro-batch, epoch or process.

The numbers came from the frameworks' own code: verl's ``utils/torch_functional.py`` (b178a3cd) called for every training
step; MMEngine 0.10.7's schedulers and timm 1.0.31's stepped on a real optimizer; Lightning 2.6.6's Trainer training a
linear layer for 5 epochs of 10 batches, with the rate read before each step of the optimizer; ColossalAI's schedulers
likewise, with the ``CosineAnnealingLR.get_lr`` of torch 2.5, the newest that it takes.
"""

from __future__ import annotations

from pathlib import Path

import pytest
from audited import agrees, audit, only

from huohou.audit.document import Document
from huohou.audit.examine import examine
from huohou.audit.reading import Given
from huohou.audit.source import Source

PPO = """python3 -m verl.trainer.main_ppo \\
    algorithm.adv_estimator=gae data.train_batch_size={batch} actor_rollout_ref.model.path=a critic.model.path=c \\
    actor_rollout_ref.actor.ppo_mini_batch_size=256 actor_rollout_ref.actor.optim.lr=1e-6 \\
    actor_rollout_ref.actor.optim.lr_warmup_steps=10 critic.optim.lr=1e-5 critic.optim.lr_warmup_steps_ratio=0.055 \\
    {more} trainer.n_gpus_per_node=8 trainer.total_training_steps=100 $@
"""
VERL = [
    ("constant", "constant", [0.0, 0.1, 0.8, 0.9, 1.0, 1.0, 1.0, 1.0, 1.0, 1.0]),
    ("cosine", "cosine actor_rollout_ref.actor.optim.min_lr_ratio=0.1",
     [0.0, 0.1, 0.8, 0.9, 1.0, 0.6435602608679917, 0.21558482853517258, 0.20528000059645996, 0.10109617738307913,
      0.10027412784140693]),
    ("one wave and a half", "cosine actor_rollout_ref.actor.optim.num_cycles=1.5",
     [0.0, 0.1, 0.8, 0.9, 1.0, 0.20610737385376338, 0.7938926261462363, 0.7500000000000002, 0.010926199633097322,
      0.0027390523158632996]),
]  # fmt: skip


@pytest.mark.parametrize(("words", "rates"), [each[1:] for each in VERL], ids=[each[0] for each in VERL])
def test_verl_steps_once_a_training_step(words: str, rates: list[float]) -> None:
    more = f"actor_rollout_ref.actor.optim.lr_scheduler_type={words}"
    found = audit(PPO.format(batch=256, more=more), "run.sh")
    assert found.dialect == "verl"
    actor, critic = found.readings[0].roles
    assert (actor.name, actor.model, critic.name, critic.model) == ("actor", "a", "critic", "c")
    assert actor.warmup == 10 and critic.warmup == 5 and critic.applied.peak == 1e-5
    agrees(actor, [1e-6 * rate for rate in rates])


def test_verl_makes_several_updates_at_one_rate() -> None:
    actor = audit(PPO.format(batch=1024, more=""), "run.sh").readings[0].roles[0]
    # Four updates a step: all of the first step's are at 0, and so on up to the peak in the eleventh step.
    assert actor.applied.updates == 400 and actor.warmup == 40
    rates = [actor.applied.rate(u) for u in (1, 4, 5, 8, 37, 40, 41, 400)]
    assert rates == pytest.approx([0, 0, 1e-7, 1e-7, 9e-7, 9e-7, 1e-6, 1e-6])
    again = PPO.format(batch=1024, more="actor_rollout_ref.actor.ppo_epochs=2")
    assert audit(again, "run.sh").readings[0].roles[0].applied.updates == 800


def test_verl_without_a_critic_and_by_samples() -> None:
    text = PPO.format(batch=256, more="trainer.total_epochs=2").replace("gae", "grpo")
    roles = audit(text.replace("trainer.total_training_steps=100", ""), "run.sh", samples=1000).readings[0].roles
    assert [role.name for role in roles] == ["actor"] and roles[0].applied.updates == 6


def test_verl_by_megatron() -> None:
    more = (
        "--config-name=ppo_megatron_trainer.yaml actor_rollout_ref.actor.optim.lr_decay_style=cosine "
        "actor_rollout_ref.actor.optim.min_lr=1e-7"
    )
    actor = audit(PPO.format(batch=256, more=more), "run.sh").readings[0].roles[0]
    assert [actor.applied.rate(u) for u in (1, 11, 56, 101)] == pytest.approx([0, 1e-6, 0.55e-6, 1e-7])


def test_verl_tunes_by_its_cosine_to_zero() -> None:
    text = "torchrun --nproc_per_node 8 -m verl.trainer.fsdp_sft_trainer data.train_batch_size=64 optim.lr=1e-4 \\\n"
    text += "    model.partial_pretrain=m trainer.total_epochs=2\n"
    role = only(audit(text, "run.sh", samples=3250))
    assert (role.applied.updates, role.warmup, role.model) == (100, 10, "m")
    assert [role.applied.rate(u) for u in (1, 11, 56)] == pytest.approx([0, 1e-4, 0.5e-4])


XTUNER = """from mmengine.optim import CosineAnnealingLR, LinearLR
batch_size = 1
accumulative_counts = 16
max_epochs = 3
lr = 2e-4
warmup_ratio = 0.03
optim_wrapper = dict(type=AmpOptimWrapper, optimizer=dict(type=AdamW, lr=lr), accumulative_counts=accumulative_counts)
param_scheduler = [
    dict(type=LinearLR, start_factor={start}, by_epoch=True, begin=0, end=warmup_ratio * max_epochs,
         convert_to_iter_based=True),
    dict(type=CosineAnnealingLR, eta_min=0.0, by_epoch=True, begin=warmup_ratio * max_epochs, end=max_epochs,
         convert_to_iter_based=True),
]
train_cfg = dict(type=TrainLoop, max_epochs=max_epochs)
"""


def test_xtuner_steps_in_micro_batches() -> None:
    found = audit(XTUNER.format(start="1e-5"), "internlm2_7b_qlora_alpaca_e3.py", samples=200)
    assert found.dialect == "xtuner"
    role = only(found)
    # 600 micro-batches; the last update is made with eight of them.
    assert role.applied.updates == 38 and role.warmup == 18 / 16
    rates = [0.0001764708235294117, 0.00019975388829845435, 0.0001987772638855831, 0.00010323818912533554]
    agrees(role, [*rates, 1.1798407204093296e-07, 1.456876459360322e-09], (1, 2, 3, 19, 37, 38))


def test_xtuner_warmup_of_one_micro_batch_never_ends() -> None:
    # A LinearLR over one position leaves its start factor behind, and the cosine goes on from there.
    role = only(audit(XTUNER.format(start="0.1"), "a.py", samples=12, accumulation=1))
    assert role.applied.updates == 36 and max(role.applied.rates()) == pytest.approx(2e-5)


def test_xtuner_of_version_one() -> None:
    text = (
        "from xtuner.v1.config import AdamWConfig, LRConfig\noptim_cfg = AdamWConfig(lr=6e-5)\n"
        "lr_cfg = LRConfig(lr_type='cosine', warmup_ratio=0.1, lr_min=6e-6)\n"
        "trainer = TrainerConfig(total_step=100, optim_cfg=optim_cfg, lr_cfg=lr_cfg)\n"
    )
    role = only(audit(text, "sft.py"))
    assert [role.applied.rate(u) for u in (1, 6, 11, 56, 101)] == pytest.approx([0, 3e-5, 6e-5, 3.3e-5, 6e-6])


MODULE = """import lightning as L
class M(L.LightningModule):
    def __init__(self, lr=1e-3, warmup=10):
        super().__init__()
    def configure_optimizers(self):
{}
trainer = L.Trainer(max_epochs=5, accumulate_grad_batches={})
loader = DataLoader(data, batch_size=4)
"""
COSINE = "        o = AdamW(self.parameters(), lr=self.hparams.lr)\n        s = CosineAnnealingLR(o, T_max={})\n"
ALL = COSINE.format("self.trainer.estimated_stepping_batches")
AT = (1, 2, 10, 11, 12, 25)
LIGHTNING: list[tuple[str, int, str, list[float]]] = [
    ("step", 1, ALL + '        return {"optimizer": o, "lr_scheduler": {"scheduler": s, "interval": "step"}}',
     [0.001, 0.0009990133642141358, 0.0009221639627510075, 0.0009045084971874736, 0.0008852566213878945,
      0.0005313952597646566]),
    ("accumulated", 2, ALL + '        return [o], [{"scheduler": s, "interval": "step"}]',
     [0.001, 0.000996057350657239, 0.0007128896457825362, 0.0006545084971874736, 0.0005936906572928624,
      3.942649342761118e-06]),
    ("epoch by default", 1, ALL + "        return [o], [s]",
     [0.001, 0.001, 0.001, 0.0009990133642141358, 0.0009990133642141358, 0.000996057350657239]),
    ("epochs", 2, COSINE.format(5) + '        return {"optimizer": o, "lr_scheduler": s}',
     [0.001, 0.001, 0.0009045084971874736, 0.0006545084971874736, 0.0006545084971874736, 9.549150281252627e-05]),
    ("every second epoch", 2, "        o = AdamW(self.parameters(), lr=self.hparams.lr)\n        s = StepLR(o, step_size=2, "
     'gamma=0.5)\n        return [o], [{"scheduler": s, "interval": "epoch", "frequency": 2}]',
     [0.001, 0.001, 0.001, 0.001, 0.001, 0.0005]),
    ("every second batch", 1, "        o = AdamW(self.parameters(), lr=self.hparams.lr)\n        s = LinearLR(o, "
     "start_factor=0.1, total_iters=20)\n        return dict(optimizer=o, lr_scheduler=dict(scheduler=s, "
     'interval="step", frequency=2))', [0.0001, 0.0001, 0.00028, 0.000325, 0.000325, 0.0006399999999999999]),
    ("each accumulation of two", 2, "        o = AdamW(self.parameters(), lr=self.hparams.lr)\n        s = LinearLR(o, "
     'start_factor=0.1, total_iters=20)\n        return [o], [{"scheduler": s, "interval": "step", "frequency": 2}]',
     [0.0001, 0.000145, 0.0005049999999999999, 0.0005499999999999999, 0.0005949999999999999, 0.001]),
    ("none", 1, "        return Adam(self.parameters(), lr=1e-3)", [0.001] * 6),
]  # fmt: skip


@pytest.mark.parametrize(("accumulation", "body", "rates"), [e[1:] for e in LIGHTNING], ids=[e[0] for e in LIGHTNING])
def test_lightning_steps_by_interval(accumulation: int, body: str, rates: list[float]) -> None:
    found = audit(MODULE.format(body, accumulation), "module.py", samples=40)
    assert found.dialect == "lightning"
    role = only(found)
    assert role.applied.updates == 50 // accumulation
    agrees(role, rates, AT)


def test_lightning_asks_how_long_an_epoch_is() -> None:
    (reading,) = audit(MODULE.format(COSINE.format(5) + "        return [o], [s]", 1), "module.py").readings
    assert not reading.roles and "once an epoch" in str(reading.missing[-1])


def test_lightning_modules_are_made_with_numbers() -> None:
    text = MODULE.format(ALL + '        return [o], [{"scheduler": s, "interval": "step"}]', 1)
    text = text.replace("lr=1e-3, warmup", "lr, warmup") + "model = M(lr=3e-4)\n"
    assert only(audit(text, "module.py", samples=40)).applied.peak == 3e-4


@pytest.mark.parametrize(
    ("body", "why"),
    [
        (
            "        o = AdamW(self.parameters(), lr=1e-3)\n        self.s = CosineWarmupScheduler(o, 10)\n        return o",
            "sched",
        ),
        (
            "        return AdamW(self.parameters(), lr=1e-3)\n    def optimizer_step(self, epoch, i, optimizer, closure):\n"
            '        for group in optimizer.param_groups:\n            group["lr"] = self.lr * i / 100',
            "writes the rate",
        ),
    ],
    ids=["scheduler", "step"],
)
def test_lightning_code_of_the_files_own_is_not_guessed(body: str, why: str) -> None:
    (reading,) = audit(MODULE.format(body, 1), "module.py", samples=40).readings
    assert not reading.roles and why in str(reading.missing[-1])


def test_a_method_of_that_name_is_not_lightning() -> None:
    from huohou.audit.dialects import lightning

    text = "class GPT(nn.Module):\n    def configure_optimizers(self, lr):\n        return AdamW(p, lr=lr)\n"
    assert lightning.sees(Document(Source("model.py", text, Path("model.py")))) == 0


def test_lightning_by_its_command_lines_yaml() -> None:
    text = (
        "trainer:\n  max_epochs: 5\noptimizer:\n  class_path: torch.optim.AdamW\n  init_args:\n    lr: 1e-3\n"
        "lr_scheduler:\n  class_path: torch.optim.lr_scheduler.CosineAnnealingLR\n  init_args:\n    T_max: 5\n"
    )
    role = only(audit(text, "config.yaml", updates=25))
    agrees(role, LIGHTNING[3][3], AT)


TIMM: list[tuple[str, list[float]]] = [
    ("CosineLRScheduler(o, t_initial=100, lr_min=1e-4, warmup_t=10, t_in_epochs=False)",
     [0.0, 0.0001, 0.0008, 0.0009000000000000001, 0.0009779754323328191, 0.0005641348415851578,
      0.00019443024443093932, 0.00018594235253127368, 0.0001008879722072778, 0.00010022204783542078]),
    ("CosineLRScheduler(o, t_initial=25, lr_min=1e-5, cycle_decay=.5, cycle_limit=3, k_decay=1.5, t_in_epochs=False)",
     [0.001, 0.0009998436736952335, 0.0009220908117065823, 0.0008903388392756767, 0.0008517232615957085,
      1.4252935901192501e-05, 1e-05, 1e-05, 1e-05, 1e-05]),
    ("PolyLRScheduler(o, t_initial=90, power=.9, lr_min=1e-5, warmup_t=10, warmup_prefix=True, t_in_epochs=False)",
     [0.0, 0.0001, 0.0008, 0.0009000000000000001, 0.001, 0.0006037861925015998, 0.0002771863710420556,
      0.00026570777435267335, 4.219170151259097e-05, 2.7251105697542143e-05]),
    ("TanhLRScheduler(o, t_initial=100, lr_min=1e-5, warmup_t=10, t_in_epochs=False)",
     [0.0, 9.999939172671438e-05, 0.0007999951338137151, 0.0008999945255404294, 0.0009999939172671438,
      0.0009853737086236596, 0.00015043255425148283, 0.00012801089280189623, 1.3647397500441644e-05,
      1.2988232161461366e-05]),
    ("StepLRScheduler(o, decay_t=30, decay_rate=.1, warmup_t=5, warmup_lr_init=1e-5, t_in_epochs=False)",
     [1e-05, 0.000208, 0.001, 0.001, 0.001, 0.0001, 1.0000000000000003e-05, 1.0000000000000003e-05,
      1.0000000000000002e-06, 1.0000000000000002e-06]),
    ("MultiStepLRScheduler(o, decay_t=[30, 60], decay_rate=.1, warmup_t=5, t_in_epochs=False)",
     [0.0, 0.0002, 0.001, 0.001, 0.001, 0.0001, 1.0000000000000003e-05, 1.0000000000000003e-05,
      1.0000000000000003e-05, 1.0000000000000003e-05]),
    ("WSDLRScheduler(o, 95, decay_t=20, lr_min=1e-5, warmup_t=5, stable_fn='rsqrt', decay_fn='linear', "
     "t_in_epochs=False)",
     [0.0, 0.0002, 0.0007905694150420947, 0.00074535599249993, 0.0007071067811865476, 0.00031943828249997,
      0.0002515773027133138, 0.00025, 3.158769757263128e-05, 2.073666437438738e-05]),
    ("CosineLRScheduler(o, t_initial=20, lr_min=1e-5, warmup_t=3, warmup_lr_init=1e-6)",
     [1e-06, 1e-06, 0.00033400000000000004, 0.00033400000000000004, 0.0006670000000000001, 0.0005824350601949143,
      0.000154982143312659, 0.00010453658778440107, 1.609427140540686e-05, 1.609427140540686e-05]),
]  # fmt: skip


@pytest.mark.parametrize(("call", "rates"), TIMM, ids=[f"{n}-{each[0].split('(')[0]}" for n, each in enumerate(TIMM)])
def test_timm_schedulers(call: str, rates: list[float]) -> None:
    # Where epochs are counted, twenty of them are five updates long each.
    found = audit(
        f"from timm.scheduler import *\no = SGD(model.parameters(), lr=1e-3)\ns = {call}\n", "a.py", updates=100
    )
    assert found.dialect == "timm"
    agrees(only(found), rates)


def test_timm_arguments_of_its_training_script() -> None:
    text = "python train.py --model vit --sched cosine --epochs 20 --warmup-epochs 3 --warmup-lr 1e-6 --min-lr 1e-5 --lr 1e-3\n"
    agrees(only(audit(text, "run.sh", updates=100)), TIMM[-1][1])
    scaled = only(audit(text.replace("--lr 1e-3", "--lr-base 1e-3 -b 512"), "run.sh", samples=5120))
    assert scaled.applied.peak == pytest.approx(2e-3) and scaled.applied.updates == 200


LOOP = """from accelerate import Accelerator
config = {{"lr": 2e-5, "num_epochs": 3, "batch_size": 16}}
def main():
    lr = config["lr"]
    num_epochs = int(config["num_epochs"])
    train_dataloader = DataLoader(data, batch_size=16)
    accelerator = Accelerator()
    optimizer = AdamW(params=model.parameters(), lr=lr)
    scheduler = get_linear_schedule_with_warmup(optimizer=optimizer, num_warmup_steps=10{},
        num_training_steps=len(train_dataloader) * num_epochs)
    model, optimizer, train_dataloader, scheduler = accelerator.prepare(model, optimizer, train_dataloader, scheduler)
"""


def test_accelerate_lengths_that_count_every_process() -> None:
    for given in ({"updates": 300}, {"samples": 1600 * 4}):
        found = audit(LOOP.format(" * accelerator.num_processes"), "nlp.py", gpus=4, **given)
        role = only(found)
        assert (role.applied.updates, role.warmup, role.applied.peak) == (300, 10, 2e-5)
        assert role.applied.rate(300) == pytest.approx(2e-5 / 290)
        assert "accelerate-steps-per-process" not in [finding.rule for finding in found.findings]
    # A warmup that is not multiplied ends as many times too early.
    assert only(audit(LOOP.format(""), "nlp.py", gpus=4, updates=300)).warmup == 2.5


def test_accelerate_lengths_of_one_process() -> None:
    prepared = "    train_dataloader = accelerator.prepare(train_dataloader)\n    optimizer = AdamW"
    text = LOOP.format("").replace("    optimizer = AdamW", prepared)
    found = audit(text, "nlp.py", gpus=4, updates=300)
    assert only(found).applied.rate(80) == 0.0
    assert "accelerate-steps-per-process" in [finding.rule for finding in found.findings]


COLOSSAL: list[tuple[str, list[float]]] = [
    ("CosineAnnealingWarmupLR(optimizer=o, total_steps=100, warmup_steps=10, eta_min=3e-5)",
     [2.9999999999999997e-05, 5.9999999999999995e-05, 0.00027, 0.0003, 0.0003, 0.00019306807826039758,
      6.467544856055186e-05, 6.158400017893804e-05, 3.0328853214923736e-05, 3.0082238352422073e-05]),
    ("FlatAnnealingWarmupLR(o, 100, warmup_steps=10)",
     [2.9999999999999997e-05, 5.9999999999999995e-05, 0.00027, 0.0003, 0.0003, 0.0003, 0.00027344757988404845,
      0.00026227661222566516, 4.3587273860922e-06, 1.0936688852919046e-06]),
    ("LinearWarmupLR(o, 100, warmup_steps=10)",
     [2.727272727272727e-05, 5.454545454545454e-05, 0.00024545454545454545, 0.0002727272727272727, 0.0003,
      0.00016999999999999999, 7e-05, 6.666666666666666e-05, 6.666666666666667e-06, 3.3333333333333333e-06]),
]  # fmt: skip


@pytest.mark.parametrize(("call", "rates"), COLOSSAL, ids=[each[0].split("(")[0] for each in COLOSSAL])
def test_colossalai_schedulers(call: str, rates: list[float]) -> None:
    text = f"from colossalai.nn.lr_scheduler import *\no = HybridAdam(model.parameters(), lr=3e-4)\ns = {call}\n"
    found = audit(text, "train.py")
    assert found.dialect == "colossalai"
    agrees(only(found), rates)


def test_colossalai_lengths_of_its_loader() -> None:
    text = (
        "import colossalai\nparser.add_argument('--num_epochs', default=2)\n"
        "parser.add_argument('--warmup_steps', default=None)\nargs = parser.parse_args()\n"
        "dataloader = plugin.prepare_dataloader(data, batch_size=4)\no = HybridAdam(p, lr=3e-4)\n"
        "s = CosineAnnealingWarmupLR(o, total_steps=args.num_epochs * len(dataloader), warmup_steps=args.warmup_steps\n"
        "    if args.warmup_steps is not None else int(args.num_epochs * len(dataloader) * 0.025))\n"
    )
    role = only(audit(text, "train.py", samples=1600, gpus=4))
    assert (role.applied.updates, role.warmup) == (200, 5)


NO_TRAINER = """import argparse
from accelerate import Accelerator
parser = argparse.ArgumentParser()
parser.add_argument("--learning_rate", type=float, default=5e-5)
parser.add_argument("--num_train_epochs", type=int, default=3)
parser.add_argument("--max_train_steps", type=int, default=None)
parser.add_argument("--gradient_accumulation_steps", type=int, default=1)
parser.add_argument("--num_warmup_steps", type=int, default=10)
args = parser.parse_args()
accelerator = Accelerator()
train_dataloader = DataLoader(data, batch_size=8)
optimizer = torch.optim.AdamW(model.parameters(), lr=args.learning_rate)
overrode = False
steps = math.ceil(len(train_dataloader) / args.gradient_accumulation_steps)
if args.max_train_steps is None:
    args.max_train_steps = args.num_train_epochs * steps
    overrode = True
lr_scheduler = get_scheduler(
    name="linear", optimizer=optimizer, num_warmup_steps=args.num_warmup_steps * accelerator.num_processes,
    num_training_steps=args.max_train_steps if overrode else args.max_train_steps * accelerator.num_processes)
model, optimizer, train_dataloader, lr_scheduler = accelerator.prepare(model, optimizer, train_dataloader, lr_scheduler)
steps = math.ceil(len(train_dataloader) / args.gradient_accumulation_steps)
if overrode:
    args.max_train_steps = args.num_train_epochs * steps
"""


def test_accelerate_examples_by_epochs_and_by_steps(tmp_path: Path) -> None:
    role = only(audit(NO_TRAINER, "run_clm_no_trainer.py", samples=3200, gpus=4))
    assert (role.applied.updates, role.warmup) == (300, 10)
    assert role.applied.rate(300) == pytest.approx(5e-5 / 290)
    (tmp_path / "run_clm_no_trainer.py").write_text(NO_TRAINER, encoding="utf-8")
    run = tmp_path / "run.sh"
    run.write_text(
        "accelerate launch run_clm_no_trainer.py --max_train_steps 500 --num_warmup_steps 20\n", encoding="utf-8"
    )
    (role,) = examine(Document(Source(str(run), run.read_text(encoding="utf-8"), run)), Given(gpus=4)).readings[0].roles
    assert (role.applied.updates, role.warmup) == (500, 20)
    assert role.applied.rate(500) == pytest.approx(5e-5 / 480)
