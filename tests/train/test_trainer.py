from __future__ import annotations

import json
import os
import signal
from pathlib import Path
from typing import Any

import pytest
import small
import torch
from small import UPDATES, SmallStage, rate, resume, small_trainer, weights

from huohou import records
from huohou.errors import RunFailed
from huohou.train import applied, checkpoint, metrics, saving
from huohou.train.loss_scale import LossScale
from huohou.train.optim import rates_of, set_rates
from huohou.train.saving import SaveFailed
from huohou.train.signals import Stopped


def lines(trainer: Any) -> list[dict[str, Any]]:
    """The run's metrics without what no two runs share."""
    kept = [{k: v for k, v in line.items() if k != "seconds"} for line in records.read(trainer.folder.metrics)]
    assert len(kept) == trainer.counters.batches
    return kept


def events(trainer: Any, kind: str) -> list[dict[str, Any]]:
    return [event for event in records.read(trainer.folder.events) if event["event"] == kind]


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> Any:
    """A run that nothing happened to."""
    trainer = small_trainer(tmp_path_factory.mktemp("whole"))
    trainer.run()
    return trainer


def test_every_update_uses_its_planned_rate(whole: Any) -> None:
    assert [line["rate"] for line in lines(whole)] == [rate(update) for update in range(1, UPDATES + 1)]
    assert [line["update"] for line in lines(whole)] == list(range(1, UPDATES + 1))
    assert whole.progress.said[-1] == "planned == applied: 40 of 40 updates, 0 skipped, 40 batches read"


def test_the_loss_falls_and_the_records_are_complete(whole: Any) -> None:
    first, last = lines(whole)[0], lines(whole)[-1]
    assert last["evaluation"]["loss"] < first["loss"]
    assert first["tokens"] == 48
    assert set(first["layers"]) == {"embed_tokens", "layers.0", "layers.1", "norm"}
    squares = sum(norm**2 for norm in first["layers"].values())
    assert squares**0.5 == pytest.approx(first["gradient_norm"], rel=1e-6)
    assert [e["update"] for e in events(whole, "evaluation")] == [10, 20, 30, 40]
    assert [e["path"] for e in events(whole, "checkpoint")][-1] == "checkpoints/checkpoint-40"
    assert len(events(whole, "end")) == 1
    assert sorted(p.name for p in whole.folder.checkpoints.iterdir()) == ["checkpoint-35", "checkpoint-40"]


@pytest.mark.parametrize("micro_batch", [1, 3, 8])
def test_how_a_batch_is_split_changes_no_gradient(tmp_path: Path, micro_batch: int) -> None:
    gradients: list[torch.Tensor] = []
    losses: list[float] = []
    for size in (4, micro_batch):
        trainer = small_trainer(tmp_path / str(size), SmallStage(micro_batch=size))
        trainer.engine.model.eval()  # The noise is drawn for each micro-batch.
        set_rates(trainer.engine.optimizer, {"all": 0.1})  # A group whose rate is 0 has no gradients.
        losses.append(trainer.gradients(trainer.stage.batch(3)).loss)
        gradients.append(torch.cat([part.flatten() for part in trainer.engine.gradients()]).clone())
    assert losses[0] == pytest.approx(losses[1], rel=1e-6)
    torch.testing.assert_close(gradients[0], gradients[1], rtol=1e-5, atol=1e-7)


def poison(*batches: int) -> Any:
    """Make the gradients of these batches NaN, their loss staying finite."""

    def spoil(index: int, loss: torch.Tensor) -> torch.Tensor:
        if index in batches:
            loss.register_hook(lambda gradient: gradient * float("nan"))
        return loss

    return spoil


def test_skipped_updates_take_no_place_on_the_curve(tmp_path: Path) -> None:
    bad = (0, 7, 8, 20, 41)
    trainer = small_trainer(tmp_path, SmallStage(spoil=poison(*bad)))
    trainer.run()
    used = [line["rate"] for line in lines(trainer) if not line["skipped"]]
    assert used == [rate(update) for update in range(1, UPDATES + 1)]
    assert [event["batch"] for event in events(trainer, "skip")] == list(bad)
    assert trainer.progress.said[-1] == "planned == applied: 40 of 40 updates, 5 skipped, 45 batches read"
    assert all(torch.isfinite(p).all() for p in trainer.engine.model.parameters())
    skipped = [line for line in lines(trainer) if line["skipped"]]
    assert [line["update"] for line in skipped] == [1, 7, 7, 18, 38]
    assert skipped[0]["gradient_norm"] == "nan"


def test_a_loss_that_is_not_finite_is_skipped_too(tmp_path: Path) -> None:
    stage = SmallStage(spoil=lambda index, loss: loss * float("inf") if index == 2 else loss)
    trainer = small_trainer(tmp_path, stage)
    trainer.run()
    assert [event["reason"]["en"] for event in events(trainer, "skip")] == ["the loss is inf"]


def test_a_skipped_update_changes_nothing(tmp_path: Path) -> None:
    trainer = small_trainer(tmp_path, SmallStage(spoil=poison(0)))
    before = weights(trainer)
    assert trainer.attempt(trainer.stage.batch(0))["skipped"]
    assert weights(trainer) == before
    assert not trainer.engine.optimizer.state
    assert (trainer.counters.update, trainer.counters.batches, trainer.counters.skipped) == (0, 1, 1)


def test_five_in_a_row_end_the_run_and_name_the_last_good_checkpoint(tmp_path: Path) -> None:
    trainer = small_trainer(tmp_path, SmallStage(spoil=poison(*range(12, 99))))
    with pytest.raises(RunFailed, match=r"5 updates in a row .* after update 12: .* is .*checkpoint-10\."):
        trainer.run()
    assert trainer.counters.batches == 17
    assert checkpoint.find(trainer.folder.checkpoints).newest is not None


def test_four_in_a_row_do_not(tmp_path: Path) -> None:
    small_trainer(tmp_path, SmallStage(spoil=poison(12, 13, 14, 15, 17, 18, 19, 20))).run()


class Leave(Exception):
    """Stands for whatever ends a process."""


def leave_at(batch: int) -> Any:
    def before(index: int) -> None:
        if index == batch:
            raise Leave

    return before


@pytest.mark.parametrize("batch", [3, 5, 8, 9, 23, 39])
def test_a_resumed_run_is_the_same_bit_for_bit(tmp_path: Path, whole: Any, batch: int) -> None:
    with pytest.raises(Leave):
        small_trainer(tmp_path, SmallStage(before=leave_at(batch))).run()
    torch.manual_seed(99)
    trainer = resume(small_trainer(tmp_path))
    assert trainer.counters.update == batch // 5 * 5
    trainer.run()
    assert weights(trainer) == weights(whole)
    assert lines(trainer) == lines(whole)
    assert trainer.progress.said[-1] == whole.progress.said[-1]


def test_a_run_resumed_among_skipped_updates_is_the_same(tmp_path: Path) -> None:
    stage = SmallStage(spoil=poison(4, 5, 11))
    reference = small_trainer(tmp_path / "whole", stage)
    reference.run()
    trainer = small_trainer(tmp_path / "cut", SmallStage(spoil=poison(4, 5, 11), before=leave_at(14)))
    with pytest.raises(Leave):
        trainer.run()
    trainer = resume(small_trainer(tmp_path / "cut", stage))
    assert (trainer.counters.update, trainer.counters.batches, trainer.counters.skipped) == (10, 13, 3)
    trainer.run()
    assert weights(trainer) == weights(reference)
    assert lines(trainer) == lines(reference)


def test_a_stop_after_a_skipped_update_loses_nothing(tmp_path: Path) -> None:
    stage = SmallStage(
        spoil=poison(6), before=lambda index: os.kill(os.getpid(), signal.SIGTERM) if index == 6 else None
    )
    trainer = small_trainer(tmp_path, stage)
    with trainer.signals, pytest.raises(Stopped):
        trainer.run()
    trainer = resume(small_trainer(tmp_path, SmallStage(spoil=poison(6))))
    assert (trainer.counters.update, trainer.counters.batches) == (6, 7)
    trainer.run()
    assert trainer.progress.said[-1] == "planned == applied: 40 of 40 updates, 1 skipped, 41 batches read"
    assert len(lines(trainer)) == 41


@pytest.mark.parametrize(("number", "status"), [(signal.SIGINT, 130), (signal.SIGTERM, 143)])
def test_a_signal_saves_after_the_update_and_stops(tmp_path: Path, whole: Any, number: int, status: int) -> None:
    stage = SmallStage(before=lambda index: os.kill(os.getpid(), number) if index == 12 else None)
    trainer = small_trainer(tmp_path, stage)
    handler = signal.getsignal(number)
    with trainer.signals, pytest.raises(Stopped) as stopped:
        trainer.run()
    assert stopped.value.status == status
    assert signal.getsignal(number) is handler
    assert trainer.saved is not None and trainer.saved.name == "checkpoint-13"
    trainer = resume(small_trainer(tmp_path))
    trainer.run()
    assert weights(trainer) == weights(whole)


def test_ctrl_c_twice_stops_at_once(tmp_path: Path) -> None:
    def before(index: int) -> None:
        if index == 12:
            os.kill(os.getpid(), signal.SIGINT)
            os.kill(os.getpid(), signal.SIGINT)
            raise AssertionError("the second one was not heard")

    trainer = small_trainer(tmp_path, SmallStage(before=before))
    with trainer.signals, pytest.raises(Stopped) as stopped:
        trainer.run()
    assert stopped.value.status == 130
    assert trainer.saved is not None and trainer.saved.name == "checkpoint-10"


@pytest.mark.skipif(not hasattr(signal, "SIGUSR1"), reason="this system lacks these signals")
def test_a_checkpoint_can_be_asked_for_and_a_lost_connection_is_survived(tmp_path: Path, whole: Any) -> None:
    numbers = {12: signal.SIGUSR1, 21: signal.SIGHUP}
    stage = SmallStage(before=lambda index: os.kill(os.getpid(), numbers[index]) if index in numbers else None)
    trainer = small_trainer(tmp_path, stage)
    with trainer.signals:
        trainer.run()
    updates = [event["update"] for event in events(trainer, "checkpoint")]
    assert updates == [5, 10, 13, 15, 20, 25, 30, 35, 40]
    assert weights(trainer) == weights(whole)


def test_a_signal_before_the_loop_stops_at_once(tmp_path: Path) -> None:
    trainer = small_trainer(tmp_path)
    with trainer.signals, pytest.raises(Stopped):
        os.kill(os.getpid(), signal.SIGTERM)


def test_a_checkpoint_that_cannot_be_written_does_not_end_the_run(
    tmp_path: Path, whole: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    save, fails = saving.save, [True, True, False]

    def sometimes(*arguments: Any, **named: Any) -> Path:
        if fails and fails.pop(0):
            raise SaveFailed("no room.", "没有空间。")
        return save(*arguments, **named)

    monkeypatch.setattr(saving, "save", sometimes)
    trainer = small_trainer(tmp_path)
    trainer.run()
    assert [event["update"] for event in events(trainer, "checkpoint failed")] == [5, 10]
    assert [text for text in trainer.progress.said if "no room" in text]
    assert weights(trainer) == weights(whole)


def test_the_last_checkpoint_must_be_written(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def never(*_: Any, **__: Any) -> Path:
        raise SaveFailed("no room.", "没有空间。")

    monkeypatch.setattr(saving, "save", never)
    with pytest.raises(RunFailed, match=r"no room\. There is no checkpoint yet"):
        small_trainer(tmp_path).run()


def test_metrics_that_cannot_be_written_end_the_run_with_a_sentence(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    append = records.append

    def full(path: Path, record: Any) -> None:
        if record["update"] == 7:
            raise OSError(28, "No space left on device", str(path))
        append(path, record)

    monkeypatch.setattr(records, "append", full)
    with pytest.raises(RunFailed, match=r"metrics.jsonl: No space left on device; the last good .*checkpoint-5\."):
        small_trainer(tmp_path).run()


def test_another_rate_in_the_optimizer_is_a_failure(tmp_path: Path) -> None:
    trainer = small_trainer(tmp_path)
    step = trainer.engine.optimizer.step

    def meddle() -> None:
        step()
        if trainer.counters.update == 16:
            for group in trainer.engine.optimizer.param_groups:
                group.update(lr=0.123)

    trainer.engine.optimizer.step = meddle  # pyright: ignore[reportAttributeAccessIssue]
    with pytest.raises(RunFailed, match=r"planned != applied: update 17 used the rate 0.123, the plan says 0.0\d+"):
        trainer.run()


def test_a_place_lost_on_the_curve_is_a_failure(tmp_path: Path) -> None:
    with pytest.raises(Leave):
        small_trainer(tmp_path, SmallStage(before=leave_at(12))).run()
    trainer = resume(small_trainer(tmp_path))
    trainer.counters.update += 1
    with pytest.raises(RunFailed, match="planned != applied"):
        trainer.run()


def test_missing_lines_are_told(tmp_path: Path) -> None:
    with pytest.raises(Leave):
        small_trainer(tmp_path, SmallStage(before=leave_at(12))).run()
    metrics.cut(tmp_path / "metrics.jsonl", 4)
    trainer = resume(small_trainer(tmp_path))
    trainer.run()
    assert "lacks 6 lines" in trainer.progress.said[0]


def test_half_a_line_is_cut(tmp_path: Path) -> None:
    path = tmp_path / "metrics.jsonl"
    path.write_text('{"update": 1}\n{"upd', encoding="utf-8", newline="\n")
    assert metrics.cut(path, 5) == 1
    assert path.read_text(encoding="utf-8") == '{"update": 1}\n'


def test_samples_are_events(tmp_path: Path) -> None:
    trainer = small_trainer(tmp_path, sample_every=20)
    trainer.run()
    assert [(e["update"], e["text"]) for e in events(trainer, "sample")] == [(20, "two after 20"), (40, "two after 40")]


def test_an_overflow_of_fp16_is_a_skipped_update(tmp_path: Path) -> None:
    trainer = small_trainer(tmp_path, dtype="float16")
    assert trainer.engine.scaler is not None
    trainer.engine.scaler = LossScale(2.0**40, interval=1000)
    trainer.run()
    skipped = events(trainer, "skip")
    assert len(skipped) > 5  # More than the patience for real faults: the scale has to come down first.
    assert "fp16 overflow at loss scale 1.09951e+12" in skipped[0]["reason"]["en"]
    assert trainer.engine.scaler.scale == 2.0 ** (40 - len(skipped))
    used = [line["rate"] for line in lines(trainer) if not line["skipped"]]
    assert used == [rate(update) for update in range(1, UPDATES + 1)]
    assert (
        json.loads((trainer.saved / "state.json").read_text("utf-8"))["scaler"]["scale"] == trainer.engine.scaler.scale
    )


def test_the_loss_scale_is_restored(tmp_path: Path) -> None:
    reference = small_trainer(tmp_path / "whole", dtype="float16")
    reference.run()
    with pytest.raises(Leave):
        small_trainer(tmp_path / "cut", SmallStage(before=leave_at(17)), dtype="float16").run()
    trainer = resume(small_trainer(tmp_path / "cut", dtype="float16"))
    trainer.run()
    assert weights(trainer) == weights(reference)
    assert trainer.engine.scaler is not None and reference.engine.scaler is not None
    assert trainer.engine.scaler.plain() == reference.engine.scaler.plain()


def test_a_scale_that_cannot_fall_further_ends_the_run(tmp_path: Path) -> None:
    trainer = small_trainer(tmp_path, SmallStage(spoil=poison(*range(99))), dtype="float16")
    trainer.engine.scaler = LossScale(4.0)
    with pytest.raises(RunFailed, match="bfloat16"):
        trainer.run()
    assert trainer.counters.skipped == 2 + 5


def test_lower_precision_is_used(tmp_path: Path) -> None:
    seen: list[torch.dtype] = []
    trainer = small_trainer(tmp_path, dtype="bfloat16")
    trainer.engine.model.lm_head.register_forward_hook(lambda module, inputs, output: seen.append(output.dtype))
    trainer.attempt(trainer.stage.batch(0))
    assert set(seen) == {torch.bfloat16}
    assert all(p.dtype == torch.float32 and p.grad.dtype == torch.float32 for p in trainer.engine.model.parameters())


def test_the_hash_knows_order_names_and_every_bit() -> None:
    one = applied.extend(applied.NOTHING, {"all": 0.1})
    assert one != applied.extend(applied.NOTHING, {"all": 0.1 + 2**-56})
    assert one != applied.extend(applied.NOTHING, {"other": 0.1})
    assert applied.extend(one, {"all": 0.2}) != applied.extend(
        applied.extend(applied.NOTHING, {"all": 0.2}), {"all": 0.1}
    )
    both = {"b": 1.0, "a": 2.0}
    assert applied.extend(one, both) == applied.extend(one, dict(reversed(both.items())))


def test_the_helper_and_the_optimizer_agree(tmp_path: Path) -> None:
    trainer = small_trainer(tmp_path)
    trainer.attempt(trainer.stage.batch(0))
    assert rates_of(trainer.engine.optimizer) == {"all": small.rate(1)}
