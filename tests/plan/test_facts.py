"""From a run file to a plan: what is exact, what is estimated, and what needs no data."""

from __future__ import annotations

from pathlib import Path

import pytest

from huohou.config import RunConfig
from huohou.errors import UserError
from huohou.plan.facts import plan_of_run, prepare

TEXT = "".join(f"第{i}天，小明去了{'东西南北'[i % 4]}边的山上，看见{i * 7 % 97}只鸟。\n" for i in range(3000))


@pytest.fixture(autouse=True)
def there(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    Path("text.txt").write_text(TEXT, encoding="utf-8")


def run(**train: object) -> RunConfig:
    return RunConfig.from_plain(
        {
            "model": {"preset": "0.5m"},
            "tokenizer": {"vocab_size": 300},
            "data": {"train": "text.txt", "sequence_length": 64},
            "batch": {"size": 8},
            "schedule": {"peak": "1e-3"},
            "train": train,
        }
    )


def test_epochs_are_estimated_from_a_sample_and_the_truth_lies_in_the_interval() -> None:
    estimated = plan_of_run(run(epochs=2))
    assert not estimated.exact
    exact = prepare(run(epochs=2)).plan
    assert exact.exact
    assert exact.interval is None
    assert estimated.interval is not None
    assert estimated.interval[0] <= exact.updates <= estimated.interval[1]
    # The cache is there now, so that the next plan is exact and the very same.
    again = plan_of_run(run(epochs=2))
    assert again.exact
    assert again.plan_fingerprint == exact.plan_fingerprint
    assert again.data["sequences"] == exact.data["sequences"]


@pytest.mark.parametrize("train", [{"updates": 100}, {"tokens": 100 * 8 * 64}])
@pytest.mark.parametrize("cache", [False, True])
def test_updates_and_tokens_need_no_data(train: dict[str, object], cache: bool) -> None:
    Path("text.txt").unlink()
    if cache:
        Path("runs/.cache").mkdir(parents=True)
    plan = plan_of_run(run(**train))
    assert plan.exact
    assert plan.updates == 100
    with pytest.raises(UserError, match=r"text\.txt"):
        plan_of_run(run(**train), exact=True)


def test_epochs_without_data_say_which_file_is_missing() -> None:
    Path("text.txt").unlink()
    with pytest.raises(UserError, match=r"text\.txt"):
        plan_of_run(run(epochs=1))


def test_the_last_batch_is_left_out_where_that_is_asked_for() -> None:
    whole = prepare(run(epochs=1)).plan
    config = run(epochs=1).resolved()
    config["data"]["drop_last"] = True
    dropped = prepare(RunConfig.from_plain(config)).plan
    assert whole.batch.last != 8
    assert dropped.updates == whole.updates - 1
    assert dropped.data["dropped"] == whole.batch.last * 64  # pyright: ignore[reportOptionalOperand]
