"""Every run file that is shipped loads and plans; those that go on from a model are in test_recipes.py."""

from __future__ import annotations

from pathlib import Path

import pytest

from huohou.config import load_run
from huohou.plan.facts import plan_of_run

ROOT = Path(__file__).resolve().parents[1]
SHIPPED = sorted([*ROOT.glob("configs/*.yaml"), *ROOT.glob("src/huohou/templates/*.yaml")])


def test_there_are_some() -> None:
    assert len(SHIPPED) >= 4


@pytest.mark.parametrize("path", SHIPPED, ids=lambda path: path.name)
def test_it_plans(path: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    # The data that a recipe names belongs to its user; a small text stands in for it.
    monkeypatch.chdir(tmp_path)
    lines = "".join(f"从前有{i}座山，第{i * 7 % 1000}座山里有一座庙。\n" for i in range(20_000))
    (tmp_path / "corpus.txt").write_text(lines, encoding="utf-8")
    overrides = [f"output={tmp_path.as_posix()}/out"]
    run = load_run(path)
    if run.data.embedded is None:
        overrides.append("data.train=corpus.txt")
        if run.data.validation_files:
            overrides.append("data.validation=corpus.txt")
        if run.tokenizer.path is not None:
            overrides.append("tokenizer={vocab_size: 300}")
    plan = plan_of_run(load_run(path, overrides))
    assert plan.updates >= 1
    assert plan.curve(max(plan.warmup_updates, 1)) == float(plan.curve.peak)
    assert plan.advice


def test_the_demonstration_is_the_same_as_a_file_and_as_a_template() -> None:
    text = (ROOT / "configs" / "demo.yaml").read_text(encoding="utf-8")
    assert text == (ROOT / "src" / "huohou" / "templates" / "demo.yaml").read_text(encoding="utf-8")
