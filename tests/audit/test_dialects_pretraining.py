"""Dialects of pretraining programs: what their own code applies, at ten updates of a hundred.

The numbers of ``OLMO``, ``OLD``, ``NANOCHAT``, ``SFT``, ``MINIMIND`` and ``PADDLE`` came from the frameworks' own
functions, taken out of their sources and called for every update: ``olmo_core/optim/scheduler.py`` (fa6c5014),
``olmo/optim.py``, ``scripts/base_train.py`` and ``chat_sft.py`` of nanochat (92d63d4; for SFT in a loop that counts as
its loader does), ``trainer/trainer_utils.py`` of minimind (d65ef2c, in the loop of ``train_pretrain.py``) and
``paddlenlp/transformers/optimization.py`` (3.0.0b4).
"""

from __future__ import annotations

from pathlib import Path

import pytest
from audited import agrees, audit, only

from huohou.audit.document import Document
from huohou.audit.examine import examine
from huohou.audit.reading import Given
from huohou.audit.source import Source

OLMO = [
    ("CosWithWarmup(warmup=10)", [2.9999999999999997e-05, 5.9999999999999995e-05, 0.00026999999999999995, 0.0002999999999999999, 0.00029991776164757793, 0.0001884425039850356, 6.158400017893797e-05, 5.861854826309253e-05, 3.008223835242207e-05, 2.9999999999999997e-05]),
    ("CosWithWarmup(warmup_fraction=0.07, alpha_f=0.0)", [4.2857142857142856e-05, 8.571428571428571e-05, 0.0002996577922020106, 0.00029923039850878423, 0.0002986327302237358, 0.00016769350757262692, 3.295128135718624e-05, 2.984983582959229e-05, 8.557636054229988e-08, 0.0]),
    ("CosWithWarmup(warmup_steps=10, t_max=60, warmup_min_lr=1e-5)", [3.899999999999999e-05, 6.799999999999999e-05, 0.000271, 0.0002999999999999999, 0.0002997336083378166, 5.5782705759382104e-05, 2.9999999999999997e-05, 2.9999999999999997e-05, 2.9999999999999997e-05, 2.9999999999999997e-05]),
    ("LinearWithWarmup(warmup=0, alpha_f=0.0)", [0.00029699999999999996, 0.000294, 0.00027299999999999997, 0.00026999999999999995, 0.000267, 0.00015, 5.9999999999999995e-05, 5.6999999999999976e-05, 3.0000000000000187e-06, 0.0]),
    ("HalfCosWithWarmup(warmup=10)", [1.6499999999999998e-05, 3.2999999999999996e-05, 0.00014849999999999998, 0.00016499999999999997, 0.0001626439251309667, 7.822367269231717e-05, 3.814149619390237e-05, 3.735499229409224e-05, 3.0020561153887176e-05, 2.9999999999999997e-05]),
    ("InvSqrtWithWarmup(warmup=10)", [2.9999999999999997e-05, 5.9999999999999995e-05, 0.00026999999999999995, 0.0002999999999999999, 0.0002874348990963099, 0.0001507476707849886, 0.0001254594154601839, 0.00012486832980505136, 0.00011581163303210328, 0.00011538149682454622]),
    ("ConstantWithWarmup(warmup=10)", [2.9999999999999997e-05, 5.9999999999999995e-05, 0.00026999999999999995, 0.0003, 0.0003, 0.0003, 0.0003, 0.0003, 0.0003, 0.0003]),
    ("ConstantScheduler()", [0.0003, 0.0003, 0.0003, 0.0003, 0.0003, 0.0003, 0.0003, 0.0003, 0.0003, 0.0003]),
    ("WSD(warmup=10, decay_fraction=0.2, decay_min_lr=3e-5)", [2.9999999999999997e-05, 5.9999999999999995e-05, 0.00026999999999999995, 0.0003, 0.0003, 0.0003, 0.0003, 0.00028649999999999997, 4.35e-05, 3e-05]),
    ("CosWithWarmupAndLinearDecay(warmup=10, t_max=150, decay=20, decay_fraction=None)", [2.9999999999999997e-05, 5.9999999999999995e-05, 0.00026999999999999995, 0.0002999999999999999, 0.0002999660117172383, 0.00024917112325092896, 0.00016499999999999997, 0.00015674999999999996, 8.249999999999999e-06, 0.0]),
    ("PowerLR(warmup=10)", [2.9999999999999997e-05, 5.9999999999999995e-05, 0.00026999999999999995, 0.0003, 0.0002857662825792058, 0.00013202207445371146, 0.00010388321010831934, 0.00010322714002384498, 9.78267385729171e-06, 0.0]),
    ("ExponentialScheduler(lr_min=1e-8)", [1.1085906529925523e-08, 1.2289732359024533e-08, 2.5289539012268808e-08, 2.8035746567491705e-08, 3.108016659438933e-08, 1.7320508075688774e-06, 3.816778909618178e-05, 4.231245423741817e-05, 0.00027061386381905156, 0.0003]),
    ("SequentialScheduler(schedulers=[CosWithWarmup(warmup=10, alpha_f=0.3), ConstantWithWarmup(warmup=5), CosWithWarmup(warmup=0)], schedulers_max=[30, 20])", [2.9999999999999997e-05, 5.9999999999999995e-05, 0.00026999999999999995, 0.0003, 0.00029870727576248945, 8.999999999999999e-05, 3.698481172781464e-05, 3.459095561627055e-05, 9.079917498655002e-06, 9e-06]),
]  # fmt: skip
OLD = [
    ("cosine_with_warmup", [5.699999999999999e-05, 8.399999999999998e-05, 0.0002729999999999999, 0.0002999999999999999, 0.00029991776164757793, 0.0001884425039850356, 6.158400017893797e-05, 5.861854826309253e-05, 3.008223835242207e-05, 2.9999999999999997e-05]),
    ("inverse_sqrt_with_warmup", [2.9999999999999997e-05, 5.9999999999999995e-05, 0.00026999999999999995, 0.0003, 0.0002860387767736777, 0.00013416407864998736, 0.00010606601717798212, 0.00010540925533894597, 9.534625892455922e-05, 9.486832980505138e-05]),
]  # fmt: skip
SCRIPT = """from olmo_core.optim import AdamWConfig
SEQUENCE = 4096
GLOBAL_BATCH_SIZE = 1024 * SEQUENCE
MAX_DURATION = int(4e8)
optim = AdamWConfig(lr=3e-4, weight_decay=0.1)
module = TransformerTrainModuleConfig(optim=optim, scheduler={})
trainer = TrainerConfig(max_duration={})
"""


@pytest.mark.parametrize(("scheduler", "rates"), OLMO, ids=[each[0] for each in OLMO])
def test_olmo_core_schedulers(scheduler: str, rates: list[float]) -> None:
    found = audit(SCRIPT.format(scheduler, "Duration.steps(100)"), "train.py")
    assert found.dialect == "olmo-core" and only(found).applied.updates == 100
    agrees(only(found), rates)


def test_olmo_core_counts_tokens_and_stops() -> None:
    found = audit(SCRIPT.format("CosWithWarmup(warmup_steps=10)", "Duration.tokens(MAX_DURATION)"), "train.py")
    assert only(found).applied.updates == 96
    stopped = SCRIPT.format("LinearWithWarmup(warmup=10)", "Duration.steps(100), hard_stop=Duration.steps(40)")
    role = only(audit(stopped, "train.py"))
    assert role.applied.updates == 40 and role.horizon == 100 and role.applied.rate(40) > 2e-4
    units = "WSD(units=SchedulerUnits.tokens, warmup=41943040, decay_fraction=0.1)"
    role = only(audit(SCRIPT.format(units, "Duration.tokens(100 * GLOBAL_BATCH_SIZE)"), "train.py"))
    assert (role.applied.updates, role.warmup) == (100, 10)
    assert [role.applied.rate(u) for u in (5, 10, 90, 95, 100)] == pytest.approx([1.5e-4, 3e-4, 3e-4, 1.5e-4, 0])


def test_olmo_core_asks_for_what_an_epoch_is() -> None:
    (reading,) = audit(SCRIPT.format("CosWithWarmup(warmup_steps=10)", "Duration.epochs(2)"), "a.py").readings
    assert "--tokens" in str(reading.missing[0])
    found = audit(SCRIPT.format("CosWithWarmup(warmup_steps=10)", "Duration.epochs(2)"), "a.py", tokens=10**9)
    assert only(found).applied.updates == 2 * (10**9 // (1024 * 4096))


def test_olmo_core_divides_by_a_decay_of_zero() -> None:
    found = audit(SCRIPT.format("WSD(warmup=10, decay=0, decay_fraction=None)", "Duration.steps(100)"), "a.py")
    assert found.readings[0].refused is not None and only(found).applied.updates == 99


def test_olmo_core_saves_its_configuration() -> None:
    text = """{"train_module": {"optim": {"lr": 3e-4, "_CLASS_": "olmo_core.optim.adamw.AdamWConfig"}, "scheduler":
    {"warmup": 10, "alpha_f": 0.1, "units": "steps", "t_max": null, "_CLASS_": "olmo_core.optim.scheduler.CosWithWarmup"}},
    "data_loader": {"global_batch_size": 4194304}, "trainer": {"max_duration": {"value": 100, "unit": "steps"}}}"""
    agrees(only(audit(text, "config.json")), OLMO[0][1])


@pytest.mark.parametrize(("kind", "rates"), OLD, ids=[each[0] for each in OLD])
def test_olmo_before_it_begins_its_warmup_at_a_tenth(kind: str, rates: list[float]) -> None:
    start = "" if kind.startswith("cosine") else "  warmup_min_lr: 0.0\n"
    text = f"optimizer:\n  learning_rate: 3e-4\nscheduler:\n  name: {kind}\n  t_warmup: 10\n  alpha_f: 0.1\n{start}"
    agrees(only(audit(text + "max_duration: 100\nglobal_train_batch_size: 1024\n", "OLMo.yaml")), rates)


NANOCHAT = [0.1, 0.2, 0.9, 1.0, 1.0, 0.7953846153846154, 0.35692307692307695, 0.3423076923076923, 0.07923076923076924, 0.06461538461538463]  # fmt: skip
SFT = {
    1: [0.19801990198019803, 0.297029802970297, 0.99009910990099, 1.0, 1.0, 0.9900990099009901, 0.39603960396039595, 0.3762376237623761, 0.01980198019801982, 0.0],
    4: [0.12437820945273632, 0.22388069701492536, 0.9203981099502486, 1.0, 1.0, 1.0, 0.4029850746268657, 0.3830845771144278, 0.02487562189054726, 0.004975124378109541],
}  # fmt: skip


def test_nanochat_pretrains_each_group_by_one_multiplier() -> None:
    text = "torchrun -m scripts.base_train -- --depth=12 --num-iterations=100 --warmup-steps=10 --total-batch-size=131072\n"
    found = audit(text, "run.sh")
    roles = {role.name: role for role in found.readings[0].roles}
    # A model of 768 has AdamW's rates as they are written; a batch of a quarter halves them all.
    assert {key: role.applied.peak for key, role in roles.items()} == pytest.approx(
        {"matrix": 0.01, "embedding": 0.15, "unembedding": 0.004, "scalar": 0.25}
    )
    agrees(roles["matrix"], [0.01 * share for share in NANOCHAT])
    assert roles["matrix"].warmup == 10


def test_nanochat_chooses_its_batch_and_length() -> None:
    # Counted on nanochat's own model: 729,810,624 parameters in the blocks and the head of 24 layers.
    text = "torchrun -m scripts.base_train -- --depth=24 --target-param-data-ratio=8 --device-batch-size=16\n"
    roles = {role.name: role for role in audit(text, "speedrun.sh").readings[0].roles}
    assert roles["matrix"].applied.updates == 5568
    # Batches of 2**20 tokens raise every rate by the root of two.
    assert roles["matrix"].applied.peak == pytest.approx(0.02 * 2**0.5)
    assert roles["embedding"].applied.peak == pytest.approx(0.3 * 2**0.5 * (1536 / 768) ** -0.5)


@pytest.mark.parametrize("accumulation", SFT)
def test_nanochat_tunes_by_progress(accumulation: int) -> None:
    iterations = {1: 101, 4: 402}[accumulation]
    text = f"python -m scripts.chat_sft --num-iterations={iterations} --warmup-ratio=0.1 --matrix-lr=0.02\n"
    roles = audit(text, "run.sh", accumulation=accumulation).readings[0].roles
    assert [role.name for role in roles] == ["matrix", "embedding", "unembedding"]
    assert roles[0].applied.updates == {1: 100, 4: 101}[accumulation]
    agrees(roles[0], [0.016 * share for share in SFT[accumulation]])


def test_nanochat_scripts_and_their_first_versions(tmp_path: Path) -> None:
    script = tmp_path / "scripts" / "base_train.py"
    script.parent.mkdir()
    old = "depth = 20\nembedding_lr = 0.2\nunembedding_lr = 0.004\nmatrix_lr = 0.02\nwarmup_ratio = 0.1\n"
    old += "warmdown_ratio = 0.2\nfinal_lr_frac = 0.0\ntotal_batch_size = 524288\nnum_iterations = -1\n"
    script.write_text(old, encoding="utf-8")
    run = tmp_path / "run.sh"
    run.write_text("torchrun -m scripts.base_train -- --depth=20 --num_iterations=1000\n", encoding="utf-8")
    document = Document(Source(str(run), run.read_text(encoding="utf-8"), run))
    roles = {role.name: role for role in examine(document, Given()).readings[0].roles}
    assert roles["matrix"].warmup == 100 and roles["matrix"].applied.peak == 0.02
    assert [roles["matrix"].applied.value(u) for u in (1, 100, 800, 802, 1000)] == pytest.approx(
        [0.01, 1, 1, 0.995, 0.005]
    )


MINIMIND = [0.0009997779521645793, 0.0009991120277927223, 0.0009821321585546244, 0.0009779754323328191, 0.0009733963460294015, 0.00055, 0.00018594235253127373, 0.00017781374157644725, 0.00010022204783542078, 0.0001]  # fmt: skip


def test_minimind_sets_the_rate_before_each_micro_batch() -> None:
    text = "torchrun --nproc_per_node 2 train_pretrain.py --epochs 2 --learning_rate 1e-3 --accumulation_steps 3\n"
    role = only(audit(text, "run.sh", samples=3200, gpus=2))
    # 50 micro-batches of 32 an epoch: 16 updates of three and one of the two that are left.
    assert role.applied.updates == 34
    rates = [0.000998002884071386, 0.00099202926282791, 0.0005782557337881911, 0.00055, 0.0005076512590066686]
    rates += [0.000465678408436424, 0.0001008879722072778, 0.0001]
    agrees(role, rates, (1, 2, 16, 17, 18, 19, 33, 34))
    text = "python train_full_sft.py --learning_rate 1e-3\n"
    agrees(only(audit(text, "run.sh", updates=100)), MINIMIND)


OLD_MINIMIND = """import math
def get_lr(current_step, total_steps, lr):
    return lr / 10 + 0.5 * lr * (1 + math.cos(math.pi * current_step / total_steps))
def train_epoch(epoch, wandb):
    for step, (X, Y, mask) in enumerate(train_loader):
        lr = get_lr(epoch * iters + step, args.epochs * iters, args.learning_rate)
        if (step + 1) % args.accumulation_steps == 0:
            scaler.step(optimizer)
parser.add_argument("--epochs", type=int, default=1)
parser.add_argument("--batch_size", type=int, default=32)
parser.add_argument("--learning_rate", type=float, default=5e-4)
parser.add_argument("--accumulation_steps", type=int, default=8)
args = parser.parse_args()
"""


def test_minimind_of_before_begins_above_its_rate() -> None:
    role = only(audit(OLD_MINIMIND, "train_pretrain.py", updates=100, accumulation=1))
    assert role.applied.rate(1) == pytest.approx(1.1 * 5e-4) and role.applied.rate(101) == pytest.approx(5e-5)
    assert only(audit(OLD_MINIMIND, "train_pretrain.py", samples=32 * 15)).applied.updates == 1


def test_minimind_trains_an_actor_and_a_critic() -> None:
    found = audit("python train_ppo.py --accumulation_steps 2 --epochs 1\n", "run.sh", samples=100)
    actor, critic = found.readings[0].roles
    assert (actor.name, critic.name) == ("actor", "critic")
    assert actor.applied.updates == 50 and (actor.applied.rate(1), critic.applied.rate(1)) == (3e-7, 5e-7)
    assert actor.applied.rate(51) == pytest.approx(3e-8)


def test_programs_of_the_same_name_are_not_minimind() -> None:
    text = "colossalai run --nproc_per_node 8 train_dpo.py --pretrain m --dataset d --lr 1e-6 --max_epochs 1\\n"
    from huohou.audit.dialects import minimind

    assert minimind.sees(Document(Source("train.sh", text, Path("train.sh")))) == 0


PADDLE = [
    ("CosineAnnealingWithWarmupDecay 10", [3e-06, 6e-06, 2.7e-05, 3.0000000000000004e-05, 2.9989591989249763e-05, 1.65e-05, 4.027626311097629e-06, 3.834416965046465e-06, 3e-06, 3e-06]),
    ("CosineAnnealingWithWarmupDecay 7.5", [4e-06, 8e-06, 2.9977982903002832e-05, 2.993887095473664e-05, 2.988027392835488e-05, 1.585764413637948e-05, 3.96703290428302e-06, 3.7851010908664176e-06, 3e-06, 3e-06]),
    ("LinearAnnealingWithWarmupDecay 10", [3e-06, 6e-06, 2.7e-05, 3.0000000000000004e-05, 2.9662500000000003e-05, 1.65e-05, 6.375e-06, 6.037500000000001e-06, 3e-06, 3e-06]),
    ("LinearAnnealingWithWarmupDecay 7.5", [4e-06, 8e-06, 2.950909090909091e-05, 2.918181818181818e-05, 2.8854545454545455e-05, 1.609090909090909e-05, 6.272727272727273e-06, 5.9454545454545465e-06, 3e-06, 3e-06]),
]  # fmt: skip
PRETRAIN = """{{"model_name_or_path": "m", "input_dir": "./data", "learning_rate": 3e-05, "min_learning_rate": 3e-06,
"warmup_{}, "max_steps": 100, "decay_steps": 90, "lr_scheduler_type": "{}", "unified_checkpoint": true, "recompute": false,
"sharding": "stage2", "tensor_parallel_degree": 2}}"""


@pytest.mark.parametrize(("kind", "rates"), PADDLE, ids=[each[0] for each in PADDLE])
def test_paddlenlp_pretrains_from_position_one(kind: str, rates: list[float]) -> None:
    warmup = 'ratio": 0.075' if kind.endswith("7.5") else 'steps": 10'
    style = "cosine" if kind.startswith("Cosine") else "linear"
    found = audit(PRETRAIN.format(warmup, style), "pretrain_argument.json")
    assert found.dialect == "paddlenlp"
    agrees(only(found), rates)


def test_paddlenlp_takes_the_steps_of_both_words() -> None:
    text = PRETRAIN.format('steps": 10, "warmup_ratio": 0.05', "linear")
    found = audit(text, "pretrain_argument.json")
    (both,) = [finding for finding in found.findings if finding.rule == "both-warmup-words"]
    assert only(found).warmup == 10 and "warmup_steps 10 is used" in both.message.en
    single = audit(PRETRAIN.format('ratio": 0.05', "linear"), "pretrain_argument.json")
    assert "both-warmup-words" not in [finding.rule for finding in single.findings]


def test_paddlenlp_floors_updates_and_warmup() -> None:
    text = """{"model_name_or_path": "m", "dataset_name_or_path": "./data", "per_device_train_batch_size": 1,
    "gradient_accumulation_steps": 4, "num_train_epochs": 3, "learning_rate": 3e-05, "warmup_ratio": 0.1, "src_length": 1024,
    "tensor_parallel_degree": 2, "unified_checkpoint": true}"""
    role = only(audit(text, "sft_argument.json", samples=143, gpus=2))
    assert (role.applied.updates, role.warmup, role.applied.rate(1)) == (105, 10, 0.0)
    assert role.applied.rate(105) == pytest.approx(3e-5 / 95)


def test_firefly_is_read_as_the_trainer() -> None:
    text = """{"output_dir": "output/firefly", "model_name_or_path": "m", "train_file": "d.jsonl", "template_name": "llama3",
    "num_train_epochs": 1, "per_device_train_batch_size": 1, "gradient_accumulation_steps": 16, "learning_rate": 2e-4,
    "max_seq_length": 1024, "lr_scheduler_type": "constant_with_warmup", "warmup_steps": 100, "train_mode": "qlora"}"""
    found = audit(text, "qwen-7b-sft-qlora.json", samples=16_000)
    assert found.dialect == "firefly"
    role = only(found)
    assert (role.applied.updates, role.warmup, role.model) == (1000, 100, "m")
    assert [role.applied.rate(u) for u in (1, 51, 101, 1000)] == pytest.approx([0, 1e-4, 2e-4, 2e-4])
