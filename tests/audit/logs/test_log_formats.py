"""The forms of logs: each is told by its content and gives the rates that stand in it."""

from __future__ import annotations

import json
import struct
from pathlib import Path

import pytest

from huohou.audit.logs.log import Precision, precision_of
from huohou.audit.logs.reading import names, read_log
from huohou.errors import UserError


def events(scalars: list[tuple[str, int, float]]) -> bytes:
    """A TensorBoard file as its writer makes it; the check sums are left 0."""

    def number(value: int) -> bytes:
        out = b""
        while value > 0x7F:
            out += bytes([value & 0x7F | 0x80])
            value >>= 7
        return out + bytes([value])

    def message(field: int, content: bytes) -> bytes:
        return number(field << 3 | 2) + number(len(content)) + content

    def record(event: bytes) -> bytes:
        return struct.pack("<Q", len(event)) + b"\0" * 4 + event + b"\0" * 4

    out = record(b"\x09" + struct.pack("<d", 1.0) + message(3, b"brain.Event:2"))
    for tag, step, value in scalars:
        scalar = message(1, tag.encode()) + b"\x15" + struct.pack("<f", value)
        out += record(b"\x09" + struct.pack("<d", 1.0) + b"\x10" + number(step) + message(5, message(1, scalar)))
    return out


DEEPSPEED = """cmd = deepspeed main.py --actor_learning_rate 9.65e-6
[2023-04-18 08:48:36,035] [INFO] [logging.py:96:log_dist] [Rank 0] step=10, skipped=4, lr=[5.79e-07, 5.79e-07], mom=[(0.9, 0.95)]
[2023-04-18 08:48:36,058] [INFO] [timer.py:199:stop] epoch=0/micro_step=10/global_step=10, RunningAvgSamplesPerSec=86.7
[2023-04-18 08:48:36,251] [INFO] [logging.py:96:log_dist] [Rank 0] step=10, skipped=3, lr=[3.5e-07, 3.5e-07], mom=[(0.9, 0.95)]
epoch: 0|step: 9|ppo_ep: 1|act_loss: 0.29|cri_loss: 0.16|unsuper_loss: 0.0
[2023-04-18 08:49:13,761] [INFO] [logging.py:96:log_dist] [Rank 0] step=20, skipped=5, lr=[1.4475e-06, 1.4475e-06], mom=[(0.9, 0.95)]
[2023-04-18 08:49:13,976] [INFO] [logging.py:96:log_dist] [Rank 0] step=20, skipped=3, lr=[8.5e-07, 8.5e-07], mom=[(0.9, 0.95)]
"""
STATE = {
    "global_step": 20,
    "max_steps": 100,
    "log_history": [
        {"epoch": 0.1, "learning_rate": 1e-05, "loss": 2.0, "step": 10},
        {"epoch": 0.1, "eval_loss": 2.0, "step": 10},
        {"epoch": 0.2, "learning_rate": 2e-05, "loss": 1.9, "step": 20},
    ],
}
LOGS: dict[str, tuple[str, str, dict[str, list[tuple[int, float]]]]] = {
    "trainer-state": ("trainer_state.json", json.dumps(STATE), {"model": [(10, 1e-05), (20, 2e-05)]}),
    "trainer-log": (
        "trainer_log.jsonl",
        '{"current_steps": 5, "total_steps": 93, "loss": 5.7, "lr": 1e-06, "epoch": 0.16}\n'
        '{"current_steps": 10, "total_steps": 93, "eval_loss": 5.7}\nnot json\n'
        '{"current_steps": 15, "total_steps": 93, "loss": 5.7, "learning_rate": 3e-06}\n',
        {"model": [(5, 1e-06), (15, 3e-06)]},
    ),
    "deepspeed": (
        "training.log", DEEPSPEED,
        {"actor": [(10, 5.79e-07), (20, 1.4475e-06)], "critic": [(10, 3.5e-07), (20, 8.5e-07)]},
    ),
    "minimind": (
        "out.txt",
        "Epoch:[1/2](100/1000), loss: 8.23, logits_loss: 8.23, aux_loss: 0.0, lr: 0.00049950, epoch_time: 45.2min\n"
        "Epoch:[2/2](100/1000) loss:7.9 lr:0.000270000000 epoch_Time:43.0min:\n"
        "Epoch:[2/2](200/1000), loss: 0.69, dpo_loss: 0.69, aux_loss: 0.0, learning_rate: 0.00025000, epoch_time: 3min\n",
        {"model": [(100, 0.0004995), (1100, 0.00027), (1200, 0.00025)]},
    ),
    "megatron": (
        "log.txt",
        " [2025-10-06 03:27:07] iteration       10/     500 | consumed samples: 5120 | learning rate: 1.500000E-06 | "
        "global batch size:   512 | number of skipped iterations:   1 |\n"
        "iteration 20/ 500 | learning rate: 2.500000E-06 | number of skipped iterations:   2 |\n",
        {"model": [(10, 1.5e-06), (20, 2.5e-06)]},
    ),
    "csv": (
        "log.csv", "update,actor,critic\n1,1e-06,2e-06\n2,2e-06,4e-06\n",
        {"actor": [(1, 1e-06), (2, 2e-06)], "critic": [(1, 2e-06), (2, 4e-06)]},
    ),
    "prints": (
        "stdout.txt",
        " 10%|█    | 10/100 [00:10<01:00]\r{'loss': 1.5, 'learning_rate': 9e-05, 'epoch': 0.1}\n"
        " 20%|██   | 20/100 [00:20<01:00]{'loss': '1.4', 'grad_norm': '0.5', 'learning_rate': '8e-05', 'epoch': '0.2'}\n",
        {"model": [(10, 9e-05), (20, 8e-05)]},
    ),
    "metrics": (
        "metrics.jsonl",
        '{"update": 1, "rate": 0.0003, "loss": 5.2, "tokens": 4096, "skipped": false}\n'
        '{"update": 2, "rate": 0.0006, "loss": 5.2, "tokens": 4096, "skipped": true}\n'
        '{"update": 2, "rate": 0.0006, "loss": 5.2, "tokens": 4096, "skipped": false}\n',
        {"model": [(1, 0.0003), (2, 0.0006)]},
    ),
    "json-lines": ("x.jsonl", '{"step": 3, "lr": 0.5, "loss": 1}\n{"step": 4, "lr": 0.25}\n', {"model": [(3, 0.5), (4, 0.25)]}),
}  # fmt: skip


@pytest.mark.parametrize("form", LOGS)
def test_each_form_is_told_by_its_content(form: str, tmp_path: Path) -> None:
    name, text, rates = LOGS[form]
    for file in (name, "no-ending"):
        (tmp_path / file).write_text(text, encoding="utf-8", newline="")
        log = read_log(str(tmp_path / file))
        assert log.format == form
        assert {t.name: [(p.update, p.rate) for p in t.points] for t in log.tracks} == rates
    assert read_log(str(tmp_path / name), form).format == form


def test_every_form_has_an_example() -> None:
    assert set(names()) == {*LOGS, "tensorboard"}


def test_skipped_updates_and_totals(tmp_path: Path) -> None:
    def read(form: str):
        (tmp_path / "log").write_text(LOGS[form][1], encoding="utf-8", newline="")
        return read_log(str(tmp_path / "log"))

    deepspeed = read("deepspeed")
    assert [[p.skipped for p in t.points] for t in deepspeed.tracks] == [[4, 5], [3, 3]]
    assert deepspeed.logged == "next" and deepspeed.command == "deepspeed main.py --actor_learning_rate 9.65e-6"
    # Megatron counts since the line before.
    assert [p.skipped for p in read("megatron").tracks[0].points] == [1, 3]
    totals = {form: read(form).total for form in ("trainer-state", "trainer-log", "minimind", "megatron", "prints")}
    assert totals == {"trainer-state": 100, "trainer-log": 93, "minimind": 2000, "megatron": 500, "prints": 100}


def test_events_are_read_without_tensorboard(tmp_path: Path) -> None:
    file = tmp_path / "run" / "events.out.tfevents.1.host.1.0"
    file.parent.mkdir()
    rows = [("train/learning_rate", step, step * 1e-5) for step in (10, 20, 300)]
    data = events([("train/loss", 10, 2.0), *rows])
    # A record that is still being written, at the end, is left out.
    file.write_bytes(data + data[-20:])
    for path in (file, tmp_path):
        log = read_log(str(path))
        (track,) = log.tracks
        assert log.format == "tensorboard" and [p.update for p in track.points] == [10, 20, 300]
        assert track.points[2].rate == pytest.approx(3e-3, rel=1e-7)
        assert track.precision().relative == 2.0**-24


@pytest.mark.external
def test_events_of_the_real_writer(tmp_path: Path) -> None:
    tensorboard = pytest.importorskip("torch.utils.tensorboard")
    with tensorboard.SummaryWriter(str(tmp_path)) as writer:
        for step in range(1, 4):
            writer.add_scalar("lr", step * 1e-4, step)
            writer.add_scalar("train/learning_rate", step * 2e-4, step, new_style=True)
    tracks = {t.name: [(p.update, p.rate) for p in t.points] for t in read_log(str(tmp_path)).tracks}
    assert tracks["lr"] == [(s, pytest.approx(s * 1e-4, rel=1e-6)) for s in (1, 2, 3)]
    assert tracks["train/learning_rate"] == [(s, pytest.approx(s * 2e-4, rel=1e-6)) for s in (1, 2, 3)]


def test_a_log_that_goes_back(tmp_path: Path) -> None:
    text = "step,lr\n1,0.1\n2,0.2\n3,0.3\n2,0.2\n3,0.25\n4,0.4\n4,0.4\n5,nan\n"
    (tmp_path / "log.csv").write_text(text, encoding="utf-8")
    (track,) = read_log(str(tmp_path / "log.csv")).tracks
    assert [(p.update, p.rate) for p in track.points] == [(1, 0.1), (2, 0.2), (3, 0.25), (4, 0.4)]
    assert track.resumed == [(3, 2)] and track.lost == [9]


@pytest.mark.parametrize(
    ("written", "precision"),
    [
        (["9.649992967150629e-06", "5e-05", "0.0"], Precision()),
        (["0.00049950", "0.00000001", "0.00050000"], Precision(decimals=8)),
        (["0.0001993", "9e-05", "1.234e-05"], Precision(digits=4)),
        (["1.500E-07", "2.000E-07", "2.500E-07"], Precision(digits=4)),
        (["5e-05", "5e-05"], Precision()),
        (["9.999999747378752e-05", "1.9999999494757503e-05"], Precision(relative=2.0**-24)),
    ],
    ids=["whole", "decimals", "digits", "scientific", "constant", "floats"],
)
def test_precision_is_that_of_the_column(written: list[str], precision: Precision) -> None:
    assert precision_of(written) == precision


@pytest.mark.parametrize(
    ("data", "said"),
    [
        (b"step,loss\n1,2\n", "no known form"),
        (b"\0\1\2", "binary"),
        (b"", "no known form"),
        (b"step,lr\n", "no learning rate"),
        (b'{"log_history": [1, "global_step": 2', "no complete JSON"),
        (events([]) + struct.pack("<Q", 3) + b"\0" * 4 + b"\x2f\xff\xff" + b"\0" * 4, "damaged"),
        (b"step,lr\n1," + b"9" * 100_000 + b"\n", "no learning rate"),
    ],
    ids=["no-rates", "binary", "empty", "no-rows", "cut-json", "damaged-events", "huge-number"],
)
def test_what_cannot_be_read_is_a_sentence(data: bytes, said: str, tmp_path: Path) -> None:
    (tmp_path / "log").write_bytes(data)
    with pytest.raises(UserError, match=said):
        read_log(str(tmp_path / "log"))


def test_other_mistakes(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="does not exist"):
        read_log(str(tmp_path / "none"))
    with pytest.raises(UserError, match="holds none of"):
        read_log(str(tmp_path))
    (tmp_path / "log.csv").write_text("step,lr\n1,0.1\n", encoding="utf-8")
    with pytest.raises(UserError, match="--log-as what: no such form"):
        read_log(str(tmp_path / "log.csv"), "what")
