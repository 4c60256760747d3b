"""The page, the picture and the comparison of an audit: whole, inert, and true to the curves."""

from __future__ import annotations

import base64
import hashlib
import html.parser
import json
import re
from pathlib import Path
from typing import Any

import pytest

from huohou.cli.main import main
from huohou.language import choose_language

RUN = """learning_rate: 1e-4
lr_scheduler_type: cosine
warmup_steps: 10
max_steps: 100
"""
NEGATIVE = """[optimizer]
lr = 3e-4
[lr_scheduler]
warmup_steps = 100
total_steps = 500
[training]
steps = 1000
[metrics]
log_freq = 1
"""
PPO = (
    "deepspeed main.py --actor_model_name_or_path a --critic_model_name_or_path c --data_split 2,4,4 "
    "--actor_learning_rate 9.65e-6 --critic_learning_rate 5e-6 --num_warmup_steps 10 --bf16\n"
)
HOSTILE = "</script><img src=x onerror=alert(1)>\"'&\x1b<!--"


class Reader(html.parser.HTMLParser):
    """Collects tags, ids and text."""

    def __init__(self, page: str) -> None:
        super().__init__()
        self.tags: list[tuple[str, dict[str, str | None]]] = []
        self.inside = ""
        self.parts: dict[str, str] = {}
        self.feed(page)
        self.close()

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, dict(attrs)))
        self.inside = tag

    def handle_endtag(self, tag: str) -> None:
        self.inside = ""

    def handle_data(self, data: str) -> None:
        where = self.inside if self.inside in ("style", "script") else "text"
        self.parts[where] = self.parts.get(where, "") + data


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    files = {"run.yaml": RUN, "other.yaml": RUN.replace("cosine", "linear"), "negative.toml": NEGATIVE, "ppo.sh": PPO,
             "one.yaml": RUN.replace("100", "1").replace("10\n", "0\n")}  # fmt: skip
    for name, text in files.items():
        (tmp_path / name).write_text(text, encoding="utf-8")
    return tmp_path


def page(*words: str) -> str:
    main(["audit", *words, "--html", "page.html"])
    return Path("page.html").read_text(encoding="utf-8")


def lines_of(text: str, key: str) -> list[tuple[list[str], list[float]]]:
    """The lines of a figure: their classes, and the rates at their points, from the whole coordinates."""
    part = re.search(rf'<figure class="figure" id="figure-{key}">.*?</figure>', text, re.DOTALL)
    assert part is not None
    low, high = map(float, re.findall(r'data-y="(\S+) (\S+)"', part[0])[0])
    found: list[tuple[list[str], list[float]]] = []
    for classes, path in re.findall(r'<path class="([^"]+)" d="([^"]+)"', part[0]):
        numbers = [int(number) for number in re.findall(r"-?\d+", path)]
        y, ys = numbers[1], [numbers[1]]
        for step in numbers[3::2]:
            y += step
            ys.append(y)
        found.append((classes.split(), [low + (1 - each / 4000) * (high - low) for each in ys]))
    return found


@pytest.mark.parametrize(
    "words",
    [["run.yaml"], ["ppo.sh", "--updates", "60"], ["negative.toml"], ["one.yaml"], ["run.yaml", "other.yaml"], ["."]],
    ids=["one", "roles", "negative", "single update", "pair", "folder"],
)
def test_a_page_is_whole_and_loads_nothing(folder: Path, words: list[str]) -> None:
    text = page(*words)
    reader = Reader(text)
    assert not re.search(
        r"https?://|NaN|None|\binf\b", re.sub(r"<style>.*?</style>|<script>.*?</script>", "", text, flags=re.S)
    )
    ids = [attrs["id"] for _, attrs in reader.tags if "id" in attrs]
    assert len(ids) == len(set(ids))
    policy = next(attrs["content"] or "" for tag, attrs in reader.tags if tag == "meta" and "http-equiv" in attrs)
    for part in ("style", "script"):
        digest = base64.b64encode(hashlib.sha256(reader.parts[part].encode()).digest()).decode()
        assert f"{part}-src 'sha256-{digest}'" in policy
    assert text.count('class="en"') == text.count('class="zh"')


def test_the_lines_are_the_curves(folder: Path) -> None:
    text = page("run.yaml")
    (meant_how, meant), (applied_how, applied) = lines_of(text, "rate-whole")
    assert meant_how == ["intended", "r0"] and applied_how == ["applied", "r0"]
    assert applied[0] == pytest.approx(0, abs=1e-7) and applied[10] == pytest.approx(1e-4, rel=1e-3)
    assert meant[0] == pytest.approx(1e-5, rel=1e-2) and meant[9] == pytest.approx(1e-4, rel=1e-3)
    assert len(applied) == 100 and len(lines_of(text, "rate-early")[1][1]) == 12


def test_rates_below_zero_are_drawn(folder: Path) -> None:
    (_, applied), *_ = lines_of(page("negative.toml"), "rate-whole")
    assert min(applied) == pytest.approx(-3.74e-4, rel=1e-2)


def test_what_is_said_of_one_file(folder: Path) -> None:
    text = page("run.yaml")
    for part in ("first used in update 11", "updates-at-zero", "warmup_steps = 10, line 3", "0.0909 of the peak"):
        assert part in text
    roles = page("ppo.sh", "--updates", "60")
    assert "actor: a" in roles and "critic: c" in roles and roles.count('class="applied r1"') == 2
    assert "the one update uses" in page("one.yaml")


def test_a_page_in_chinese(folder: Path) -> None:
    try:
        main(["audit", "run.yaml", "--html", "page.html", "--lang", "zh"])
    finally:
        choose_language("en")
    text = Path("page.html").read_text(encoding="utf-8")
    assert '<html lang="zh-Hans">' in text and "剩余的最大差异" in text


def test_a_folder_has_a_table_and_every_file(folder: Path) -> None:
    text = page(".")
    for number, name in enumerate(("negative.toml", "one.yaml", "other.yaml", "ppo.sh", "run.yaml")):
        assert f'href="#file-{number}"><bdi>{name}</bdi>' in text and f'id="file-{number}"' in text
    assert "--updates" in text


def test_names_from_outside_stay_text(folder: Path) -> None:
    (folder / "evil.yaml").write_text(
        RUN + f"model_name_or_path: {json.dumps(HOSTILE)}\noutput_dir: {json.dumps(HOSTILE)}\n", encoding="utf-8"
    )
    text = page("evil.yaml")
    assert "<img" not in text and "onerror=alert(1)&gt;" in text and text.count("<script>") == 1


def test_the_drawing_of_a_long_run_reaches_its_peak(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    text = RUN.replace("100", "1000000").replace("10\n", "12345\n", 1).replace("cosine", "linear")
    (folder / "long.yaml").write_text(text, encoding="utf-8")
    main(["audit", "long.yaml"])
    assert re.search(r"\n +1e-4 ┤", capsys.readouterr().out)


def test_two_files_are_compared(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    main(["audit", "run.yaml", "other.yaml", "--json"])
    (found,) = json.loads(capsys.readouterr().out)["differences"]
    assert found["first_differing"] == 12 and found["at"] == 31 and found["updates"] == [100, 100]
    assert found["largest_share_of_peak"] == pytest.approx(0.105, rel=1e-2)
    assert found["area_difference"] == pytest.approx(0, abs=1e-12)
    main(["audit", "run.yaml", "other.yaml"])
    out = capsys.readouterr().out
    assert "first differing update: 12" in out and "10.52% of the peak" in out
    text = page("run.yaml", "other.yaml")
    away = lines_of(text, "apart-0")[0][1]
    assert min(away) == pytest.approx(-10.5, rel=1e-2) and len(lines_of(text, "rate-whole-0")) == 2
    main(["audit", "run.yaml", "run.yaml"])
    assert "the same rate in every update" in capsys.readouterr().out


def test_the_first_difference_of_long_runs_is_found_between_the_updates_that_are_looked_at(folder: Path) -> None:
    from dataclasses import replace

    from huohou.audit.applied import Applied
    from huohou.audit.compare import compare
    from huohou.audit.document import Document
    from huohou.audit.examine import Audit
    from huohou.audit.pieces import Piece
    from huohou.audit.reading import Reading, Role
    from huohou.audit.source import Source
    from huohou.audit.values import Settings

    def audit(at: float) -> Audit:
        curve = Applied(1e-4, 1_000_000, (Piece(0, "hold", 1.0), Piece(at, "linear", 1.0, 0.0, 1e6 - at)))
        reading = Reading("x", "x", Settings(), [Role("model", curve, 0.0)])
        return Audit(Document(Source("x", "")), "x", [reading])

    ours, theirs = audit(777_777), audit(900_001)
    hidden = replace(ours.readings[0].roles[0].applied, pieces=(Piece(0, "hold", 1.0), Piece(777_777, "hold", 0.5)))
    ours.readings[0].roles[0] = Role("model", hidden, 0.0)
    (found,) = compare(ours, theirs)
    assert found.first == 777_778


def test_pictures(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    pytest.importorskip("matplotlib")
    for words in (["run.yaml"], ["ppo.sh", "--updates", "60"], ["run.yaml", "other.yaml"]):
        main(["audit", *words, "--png", "curve.png"])
        assert Path("curve.png").read_bytes().startswith(b"\x89PNG")
        Path("curve.png").unlink()
    assert main(["audit", ".", "--png", "x.png"]) == 2 and "--html takes a folder" in capsys.readouterr().err
    assert main(["audit", "one.yaml", "--png", "x.png"]) == 2
    (folder / "taken").mkdir()
    assert main(["audit", "run.yaml", "--html", "taken"]) == 2


def said(capsys: pytest.CaptureFixture[str], *words: str, status: int = 0) -> tuple[str, str]:
    assert main(["audit", *words]) == status
    captured = capsys.readouterr()
    return captured.out, captured.err


def test_a_conversion_alone_is_on_standard_output(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    out, err = said(capsys, "run.yaml", "--to", "huohou")
    (folder / "ours.yaml").write_text(out, encoding="utf-8")
    assert "0.0909 of the peak, in update 1" in err
    assert main(["plan", "ours.yaml", "--rates", "1,11,100"]) == 0
    assert capsys.readouterr().out.split()[3] == "0.0001"
    out, err = said(capsys, "run.yaml", "--to", "megatron")
    assert "--lr-warmup-iters 10" in out and "the same rate in every update" in err
    assert "1 finding in the source" in err


def test_a_conversion_goes_into_a_file_for_each_role(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    out, _ = said(capsys, "ppo.sh", "--updates", "60", "--to", "transformers", "--output", "out.py")
    assert "out.actor.py" in out and "9.65e-06" in Path("out.actor.py").read_text(encoding="utf-8")
    assert "5.0e-06" in Path("out.critic.py").read_text(encoding="utf-8")
    said(capsys, "run.yaml", "--to", "optax", "--output", "single.py")
    assert "warmup_cosine_decay_schedule" in Path("single.py").read_text(encoding="utf-8")


def test_a_conversion_in_json(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    out, _ = said(capsys, "run.yaml", "--to", "torch", "--json")
    found: dict[str, Any] = json.loads(out)["converted"]["model"]
    assert found["same"] is True and "SequentialLR" in found["text"] and found["largest_difference"] <= 1e-12


@pytest.mark.parametrize(
    ("words", "part"),
    [
        (["run.yaml", "--to", "keras"], "nothing is written for that"),
        (["run.yaml", "other.yaml", "--to", "huohou"], "--to is for one file"),
        ([".", "--to", "huohou"], "--to is for one file"),
        (["run.yaml", "--output", "x"], "--output belongs to --to"),
        (["run.yaml", "--intended"], "--intended belongs to --to"),
        (["run.yaml", "--to", "torch", "--output", "nowhere/x"], "could not be written"),
    ],
)
def test_mistakes_end_in_a_sentence(
    folder: Path, capsys: pytest.CaptureFixture[str], words: list[str], part: str
) -> None:
    _, err = said(capsys, *words, status=2)
    assert part in err and "Traceback" not in err
