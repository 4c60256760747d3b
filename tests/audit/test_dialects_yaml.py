"""Dialects of YAML files: nanotron, GPT-NeoX, Composer with LLM Foundry, Levanter.

The rates are those that the frameworks' own functions give for each of a hundred updates: ``lr_scheduler_builder`` of
nanotron (``helpers.py``), ``AnnealingLR`` of GPT-NeoX (``megatron/learning_rates.py``) stepped on an optimizer, and
Composer 0.32.1's ``optim/scheduler.py`` called with its own ``Timestamp``. Levanter's are optax's, checked by hand.
"""

from __future__ import annotations

import pytest
from audited import agrees, audit, only

RISE = [0.0, 2.9999999999999997e-05, 0.00023999999999999998, 0.00026999999999999995, 0.0003]
FALL = [0.00019306807826039747, 6.467544856055181e-05, 6.158400017893797e-05, 3.0328853214923733e-05,
        3.0082238352422073e-05]  # fmt: skip
NANOTRON: dict[str, tuple[str, list[float]]] = {
    "cosine": ("lr_decay_style: cosine\n    min_decay_lr: 3e-5\n    lr_warmup_style: linear", [*RISE, *FALL]),
    "no warmup style": ("lr_decay_style: cosine\n    min_decay_lr: 3e-5\n    lr_warmup_style: constant",
                        [0.0003] * 5 + FALL),
    # The decay loses the warmup's updates and the starting step: thirty of forty, and ten at 0.
    "starts later": ("lr_decay_style: linear\n    min_decay_lr: 0.0\n    lr_warmup_style: linear\n"
                     "    lr_decay_starting_step: 60",
                     [*RISE, 0.0003, 0.00010999999999999998, 9.999999999999999e-05, 0.0, 0.0]),
    "1-sqrt": ("lr_decay_style: 1-sqrt\n    min_decay_lr: 0.0\n    lr_warmup_style: linear\n"
               "    lr_decay_starting_step: 80\n    lr_decay_steps: 20",
               [*RISE, 0.0003, 0.0003, 0.0003, 1.5395010584845867e-05, 7.5961696557310995e-06]),
}  # fmt: skip


@pytest.mark.parametrize("case", NANOTRON)
def test_nanotron(case: str) -> None:
    words, rates = NANOTRON[case]
    text = "optimizer:\n  learning_rate_scheduler:\n    learning_rate: 3e-4\n    lr_warmup_steps: 10\n    "
    found = audit(f"{text}{words}\ntokens:\n  train_steps: 100\n", "config.yaml")
    assert found.dialect == "nanotron"
    role = only(found)
    assert role.applied.updates == 100
    agrees(role, rates)


UP = [2.9999999999999997e-05, *RISE[1:]]
NEOX: dict[str, tuple[str, list[float]]] = {
    "cosine": ('"warmup": 0.1, "min_lr": 3e-5, "lr_decay_style": "cosine"', [*UP, *FALL]),
    "linear": ('"warmup": 0.1, "min_lr": 3e-5',
               [*UP, 0.00016999999999999999, 7e-05, 6.666666666666666e-05, 3e-05, 3e-05]),
    "a warmup that is not whole": ('"warmup": 0.105, "min_lr": 0.0, "lr_decay_style": "exponential"',
        [2.8571428571428567e-05, 2.8571428571428567e-05, 0.00022857142857142854, 0.0002571428571428571,
         0.0002857142857142857, 0.00022266676565009774, 0.00017651146408932835, 0.00017515001054547284,
         0.00015236340780800718, 0.00015118821104339857]),
    "shorter decay": ('"warmup": 0.1, "min_lr": 3e-5, "lr_decay_style": "cosine", "lr-decay-iters": 60',
        [4.9999999999999996e-05, 4.9999999999999996e-05, 0.0002990871782951623, 0.0002979490466566481,
         0.0002963610575282762, 5.671336897806908e-05, 0.00010441211067293756, 0.0001115292315847138,
         0.00024561640987987607, 0.0002517763273076827]),
    "constant": ('"warmup": 0.1, "min_lr": 0.0, "lr_decay_style": "constant"', [*UP, *[0.0003] * 5]),
}  # fmt: skip


@pytest.mark.parametrize("case", NEOX)
def test_gpt_neox(case: str) -> None:
    words, rates = NEOX[case]
    text = f'{{"optimizer": {{"type": "Adam", "params": {{"lr": 0.0003}}}}, "train_iters": 100, {words},\n'
    found = audit(f'{text}"pipe-parallel-size": 1, "model-parallel-size": 1}}', "125M.yml")
    assert found.dialect == "gpt-neox"
    role = only(found)
    assert role.applied.updates == 100
    agrees(role, rates)


COSINE = [0.0, 5.9999999999999995e-05, 0.00047999999999999996, 0.00054, 0.0006, 0.00038613615652079495,
          0.0001293508971211035, 0.00012316800035787597, 6.0657706429847466e-05, 6.016447670484414e-05]  # fmt: skip
COMPOSER: dict[str, tuple[str, str, str, list[float]]] = {
    "updates": ("cosine", "10ba", "100ba", COSINE),
    "tokens": ("cosine", "327680tok", "3276800tok", COSINE),
    "epochs": ("cosine", "0.07dur", "2ep",
               [0.0, 8.57142857142857e-05, 0.0005998459625510238, 0.0005993840259636191, 0.0005986147173158116,
                0.00037088549992623566, 0.00012513530687294645, 0.00011931230644293524, 6.06159740363809e-05,
                6.015403744897614e-05]),
    "linear": ("linear_decay", "0.1dur", "100ba",
               [0.0, 5.9999999999999995e-05, 0.00047999999999999996, 0.00054, 0.0006, 0.00033999999999999997,
                0.00013999999999999996, 0.0001333333333333333, 1.3333333333333352e-05, 6.666666666666642e-06]),
    "constant": ("constant", "10ba", "100ba",
                 [0.0, 5.9999999999999995e-05, 0.00047999999999999996, 0.00054, *[0.0006] * 6]),
}  # fmt: skip


@pytest.mark.parametrize("case", COMPOSER)
def test_llm_foundry(case: str) -> None:
    kind, warmup, duration, rates = COMPOSER[case]
    text = f"max_duration: {duration}\nglobal_train_batch_size: 8\nmax_seq_len: 4096\n"
    text += "optimizer:\n  name: decoupled_adamw\n  lr: 6.0e-4\n"
    text += (
        f"scheduler:\n  name: {kind}_with_warmup\n  t_warmup: {warmup}\n  alpha_f: {0.0 if kind != 'cosine' else 0.1}\n"
    )
    found = audit(text, "mpt-125m.yaml", samples=400)
    assert found.dialect == "composer"
    role = only(found)
    assert role.applied.updates == 100
    agrees(role, rates)


def test_composer_in_python() -> None:
    text = (
        "optimizer = DecoupledAdamW(model.parameters(), lr=6e-4)\n"
        "s = CosineAnnealingWithWarmupScheduler(t_warmup='10ba', alpha_f=0.1)\n"
        "trainer = Trainer(model=model, optimizers=optimizer, schedulers=s, max_duration='100ba')\n"
    )
    found = audit(text, "train.py")
    assert found.dialect == "composer"
    role = only(found)
    assert role.applied.updates == 100
    agrees(role, COSINE)


def test_composer_refuses_two_units() -> None:
    text = "max_duration: 100ba\noptimizer:\n  lr: 6e-4\nscheduler:\n  name: cosine_with_warmup\n  t_warmup: 100tok\n"
    (reading,) = audit(text, "a.yaml").readings
    assert reading.refused is not None and not reading.roles


@pytest.mark.parametrize(
    ("words", "rates"),
    [
        ("warmup: 0.1", [0.0, 1.0, 0.55, 0.1]),
        ("warmup: 10\n  lr_schedule: linear", [0.0, 1.0, 0.55, 0.1]),
        ("warmup: 10\n  decay: 0.2\n  min_lr_ratio: 0.0", [0.0, 1.0, 1.0, 0.0]),
        ("warmup: 10\n  lr_schedule: constant", [0.0, 1.0, 1.0, 1.0]),
        ("warmup: 10\n  lr_schedule: inv_sqrt", [0.0, 1.0, 1.0, 1.0]),
    ],
    ids=lambda value: value.replace("\n  ", " ") if isinstance(value, str) else None,
)
def test_levanter(words: str, rates: list[float]) -> None:
    text = f"trainer:\n  train_batch_size: 512\n  num_train_steps: 100\noptimizer:\n  learning_rate: 1.0\n  {words}\n"
    found = audit(text, "gpt2.yaml")
    assert found.dialect == "levanter"
    role = only(found)
    assert [role.applied.rate(update) for update in (1, 11, 56, 101)] == pytest.approx(rates)


def test_levanter_takes_one_for_the_whole() -> None:
    text = "trainer:\n  train_batch_size: 512\n  num_train_steps: 100\noptimizer:\n  learning_rate: 1.0\n  warmup: 1\n"
    found = audit(text, "gpt2.yaml")
    assert found.readings[0].refused is not None
    assert only(found).warmup == 100 and only(found).applied.rate(100) == pytest.approx(0.99)


def test_levanter_cycles_are_not_guessed() -> None:
    text = "trainer:\n  train_batch_size: 512\n  num_train_steps: 100\noptimizer:\n  learning_rate: 1.0\n  cycles: 4\n"
    (reading,) = audit(text, "gpt2.yaml").readings
    assert not reading.roles and "cycles" in str(reading.missing[0])
