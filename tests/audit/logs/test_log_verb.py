"""``huohou audit --log``: a log beside its configuration, the findings, the table, and how it ends."""

from __future__ import annotations

import csv
import json
import math
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from huohou.cli.main import main

RUN = """learning_rate: 1e-4
lr_scheduler_type: cosine
warmup_steps: 30
max_steps: 300
per_device_train_batch_size: 8
logging_steps: 10
"""
PPO = (
    "deepspeed main.py --actor_model_name_or_path a --critic_model_name_or_path c --data_split 2,4,4 "
    "--actor_learning_rate 9.65e-6 --critic_learning_rate 5e-6 --num_warmup_steps 100 --lr_scheduler_type cosine\n"
)
Rate = Callable[[int], float]


def cosine(peak: float, warmup: int, total: int) -> Rate:
    """The Transformers' cosine by index."""

    def rate(i: int) -> float:
        if i < warmup:
            return peak * (i / warmup)
        return peak * max(0.0, 0.5 * (1.0 + math.cos(math.pi * (i - warmup) / (total - warmup))))

    return rate


def write_state(path: Path, rate: Rate, *, ahead: int = 1, total: int = 300) -> None:
    history = [{"learning_rate": rate(u - 1 + ahead), "loss": 2.0, "step": u} for u in range(10, 301, 10)]
    path.write_text(json.dumps({"global_step": 300, "max_steps": total, "log_history": history}), encoding="utf-8")


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "run.yaml").write_text(RUN, encoding="utf-8")
    (tmp_path / "ppo.sh").write_text(PPO, encoding="utf-8")
    return tmp_path


def data(capsys: pytest.CaptureFixture[str], *words: str, status: int = 0) -> dict[str, Any]:
    assert main(["audit", "--json", *words]) == status
    out = capsys.readouterr().out
    assert out.count("\n") == 1
    return json.loads(out)


def rules(found: dict[str, Any]) -> set[str]:
    return {each["rule"] for each in found["log"]["findings"]} - {"log-rate-of-next-update"}


USED = cosine(1e-4, 30, 300)


@pytest.mark.parametrize(
    ("rate", "ahead", "how", "expected", "status"),
    [
        (USED, 1, "same", set(), 0),
        (USED, 0, "same", set(), 0),
        (lambda i: USED(4 * i), 1, "often", {"log-stepped-often"}, 1),
        pytest.param(lambda i: USED(i // 4), 1, "seldom", {"log-stepped-seldom"}, 1, marks=pytest.mark.heavy),
        (lambda i: 2 * USED(i), 1, "peak", {"log-peak"}, 1),
        (cosine(1e-4, 30, 600), 1, "length", {"log-length"}, 1),
        (lambda i: USED(i) if i < 150 else USED(i - 150), 1, "none", {"log-disagrees", "log-reset"}, 1),
        (lambda i: USED(i) if i < 100 else 0.3 * USED(i), 1, "none", {"log-disagrees", "log-jump"}, 1),
        (lambda i: USED(i) - (2e-6 if i > 280 else 0.0), 1, "none", {"log-disagrees", "log-negative"}, 1),
    ],
    ids=["next", "used", "often", "seldom", "peak", "length", "reset", "jump", "negative"],
)
def test_a_log_beside_its_configuration(
    rate: Rate, ahead: int, how: str, expected: set[str], status: int, folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    write_state(folder / "trainer_state.json", rate, ahead=ahead)
    found = data(capsys, "run.yaml", "--log", "trainer_state.json", status=status)
    agreement = found["log"]["tracks"]["model"]["agreement"]
    assert agreement["how"] == how and agreement["agrees"] == (how == "same")
    assert expected <= rules(found) <= expected | {"log-unexplained", "log-zero"}
    assert agreement["logged"] == ("next" if ahead else "used") or how == "none"
    # The log's findings stand among those of the configuration too, and have the same form.
    assert {"rule", "severity", "file", "line", "message", "fix"} == set(found["findings"][0])
    if how == "same":
        assert agreement["relative"] < 1e-12 and agreement["skipped"] == 0
    if how in ("often", "seldom"):
        assert agreement["factor"] == 4


def test_a_reset_says_how_far_back(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    write_state(folder / "trainer_state.json", lambda i: USED(i) if i < 150 else USED(i - 140))
    found = data(capsys, "--log", "trainer_state.json", status=1)
    (reset,) = (each for each in found["log"]["findings"] if each["rule"] == "log-reset")
    assert "140 updates back" in reset["message"]
    assert found["log"]["tracks"]["model"]["explained_until"] == 140


@pytest.mark.heavy
def test_without_a_configuration(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    write_state(folder / "trainer_state.json", USED)
    found = data(capsys, "--log", "trainer_state.json")
    curve = found["curves"]["model"]
    assert (curve["updates"], curve["warmup_updates"], curve["peak"]) == (300, 30, 1e-4)
    track = found["log"]["tracks"]["model"]
    assert track["explanation"]["logged"] == "next" and len(track["others"]) >= 1
    # A schedule that is twice as long as the run it tells.
    write_state(folder / "trainer_state.json", cosine(1e-4, 30, 600))
    assert rules(data(capsys, "--log", "trainer_state.json", status=1)) == {"log-stepped-seldom"}
    write_state(folder / "trainer_state.json", cosine(1e-4, 30, 400))
    assert rules(data(capsys, "--log", "trainer_state.json", "--fail-on", "warning", status=1)) == {
        "log-decay-not-finished"
    }


def test_zeros_nans_and_a_resume_with_other_settings(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    rates = [(u, USED(u)) for u in range(10, 151, 10)] + [(u, cosine(1e-4, 30, 600)(u)) for u in range(110, 301, 10)]
    text = "step,lr\n" + "".join(f"{u},{rate!r}\n" for u, rate in rates)
    (folder / "log.csv").write_text(text + "310,nan\n320,0\n330,0\n340,0\n", encoding="utf-8")
    found = data(capsys, "--log", "log.csv", status=1)
    assert {"log-resumed-differently", "log-not-a-number", "log-zero"} <= rules(found)


def ppo_log(*, told: bool) -> str:
    """Two engines that skip updates each for itself, as DeepSpeed prints them every tenth update, or as a table."""
    lines: list[str] = []
    skipped = [0, 0]
    overflow = ({1, 2, 3, 6, 11, 57, 98}, {1, 2, 3, 28, 92, 213, 400})
    for update in range(1, 471):
        rates: list[float] = []
        for engine, peak in enumerate((9.65e-6, 5e-6)):
            skipped[engine] += update in overflow[engine]
            rates.append(cosine(peak, 100, 477)(update - skipped[engine]))
        if update % 10:
            continue
        if told:
            lines += [
                f"[Rank 0] step={update}, skipped={s}, lr=[{r!r}, {r!r}], mom=[(0.9, 0.95)]"
                for s, r in zip(skipped, rates, strict=True)
            ]
            lines.append(f"epoch: 0|step: {update}|ppo_ep: 1|act_loss: 0.1|cri_loss: 0.2")
        else:
            lines.append(f"{update},{rates[0]!r},{rates[1]!r}")
    return "\n".join([*([] if told else ["update,actor,critic"]), *lines, ""])


@pytest.mark.parametrize("told", [True, False], ids=["counted", "found"])
@pytest.mark.parametrize("flags", [(), ("--updates", "477")], ids=["length-from-the-log", "length-given"])
def test_skipped_updates_of_each_role(
    told: bool, flags: tuple[str, ...], folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (folder / "train.log").write_text(ppo_log(told=told), encoding="utf-8")
    found = data(capsys, "ppo.sh", "--log", "train.log", "--csv", "out.csv", *flags)
    tracks = found["log"]["tracks"]
    assert found["curves"]["actor"]["updates"] == 477
    for role, seen in (("actor", [10, 20, 60, 100]), ("critic", [10, 30, 100, 220, 400])):
        agreement = tracks[role]["agreement"]
        assert agreement["agrees"] and agreement["relative"] < 1e-12 and agreement["skipped"] == 7
        assert [each["update"] for each in agreement["skips"]] == seen
        assert agreement["skips_from"] == ("log" if told else "found") and agreement["role"] == role
    with open(folder / "out.csv", encoding="utf-8", newline="") as file:
        rows = list(csv.DictReader(file))
    assert len(rows) == 477 and list(rows[0])[:3] == ["update", "actor", "critic"]
    logged = [row for row in rows if row["actor_logged"]]
    assert len(logged) == 47
    for row in logged:
        for role in ("actor", "critic"):
            assert float(row[f"{role}_explained"]) == pytest.approx(float(row[f"{role}_logged"]), rel=1e-12, abs=0)
    # A rate that is logged after an update is used by the next one.
    by_update = {int(row["update"]): row for row in rows}
    assert float(by_update[471]["actor"]) == float(by_update[470]["actor_explained"])


@pytest.mark.heavy
def test_prints_without_steps_take_their_spacing_from_the_configuration_or_the_rates(
    folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    lines = [f"{{'loss': '1.0', 'learning_rate': '{USED(u - 1):.4g}', 'epoch': '1'}}\n" for u in range(10, 301, 10)]
    (folder / "out.txt").write_text("".join(lines), encoding="utf-8")
    for words in (("run.yaml",), ()):
        found = data(capsys, *words, "--log", "out.txt")
        assert found["log"]["spacing"] == 10
        assert found["log"]["tracks"]["model"]["explanation"]["updates"] == 300


def test_text_in_both_languages(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (folder / "train.log").write_text(ppo_log(told=False), encoding="utf-8")
    assert main(["audit", "ppo.sh", "--log", "train.log"]) == 0
    out = capsys.readouterr().out
    for words in ("explained by: cosine, i/W; peak 9.65e-06, W = 100, T = 477", "7, found from the rates", "T=470"):
        assert words in out
    assert "agrees with critic: 7 skipped, logged is the rate of the next update" in out
    assert main(["audit", "ppo.sh", "--log", "train.log", "--lang", "zh"]) == 0
    out = capsys.readouterr().out
    assert "与 critic 一致：跳过 7 步" in out and "由学习率推得" in out


def test_our_own_metrics_agree_bit_for_bit(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    from huohou.config import RunConfig
    from huohou.plan.planner import own_schedules, schedules
    from huohou.plan.requests import model_of, request_of
    from huohou.plan.sizes import resolve

    text = (
        "name: x\nmodel: {preset: 1m}\ndata: {embedded: {characters: 2M}, sequence_length: 128}\n"
        "batch: {size: 16}\nschedule: {peak: 3e-3, warmup: 10%, decay: cosine, floor: 10%}\ntrain: {updates: 60}\n"
    )
    (folder / "own.yaml").write_text(text, encoding="utf-8")
    run = RunConfig.from_text(text, name="own.yaml", overrides=[])
    request = request_of(run, model_of(run, None, None), sequences=None, exact=True, interval=None, data={})
    planned = schedules(request, resolve(request.asked))
    assert not own_schedules(request, planned, None)
    lines = [
        json.dumps({"update": u, "rate": planned.built.curve(u), "loss": 1.0, "tokens": 9, "skipped": skipped})
        for u in range(1, 61)
        for skipped in ([True, False] if u == 7 else [False])
    ]
    (folder / "metrics.jsonl").write_text("\n".join(lines) + "\n", encoding="utf-8")
    found = data(capsys, "own.yaml", "--log", ".")
    agreement = found["log"]["tracks"]["model"]["agreement"]
    assert agreement["agrees"] and agreement["logged"] == "used" and agreement["relative"] == 0


def test_findings_for_machines(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    write_state(folder / "trainer_state.json", lambda i: 2 * USED(i))
    words = ["audit", "run.yaml", "--log", "trainer_state.json", "--sarif", "out.sarif", "--github"]
    assert main(words) == 1 and "title=log-peak" in capsys.readouterr().out
    (run,) = json.loads((folder / "out.sarif").read_text(encoding="utf-8"))["runs"]
    described = {each["id"]: each["shortDescription"]["text"] for each in run["tool"]["driver"]["rules"]}
    found = {each["ruleId"] for each in run["results"]}
    assert "log-peak" in found and found <= described.keys()
    assert described["log-peak"] == "The peak is another one."


@pytest.mark.parametrize(
    "words",
    [
        ["--log", "none.log"],
        ["--log", "run.yaml"],
        ["run.yaml", "ppo.sh", "--log", "log.csv"],
        ["run.yaml", "--log", "log.csv", "--rates", "1"],
        ["--log", "log.csv", "--log-as", "parchment"],
        ["--log", "log.csv", "--csv", "-"],
    ],
    ids=" ".join,
)
def test_mistakes_are_sentences(words: list[str], folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (folder / "log.csv").write_text("step,lr\n1,1e-4\n2,2e-4\n", encoding="utf-8")
    found = data(capsys, *words, status=2)
    assert found["error"] and found["curves"] == {}


@pytest.mark.parametrize(("page", "language"), [("docs/logs.md", "en"), ("docs/zh/logs.md", "zh")])
def test_the_page_lists_every_form_and_every_finding(page: str, language: str) -> None:
    from huohou.audit.logs.reading import titles
    from huohou.audit.logs.rules import LOG_RULES

    words = {"error": "错误", "warning": "警告", "note": "提示"}
    rows = (Path(__file__).resolve().parents[3] / page).read_text(encoding="utf-8").splitlines()
    for name, title in titles().items():
        assert f"| {name} | {getattr(title, language)} |" in "\n".join(rows)
    for rule in LOG_RULES.values():
        severity = words[rule.severity] if language == "zh" else rule.severity
        assert f"| {rule.id} | {severity} | {getattr(rule.title, language)} |" in rows
