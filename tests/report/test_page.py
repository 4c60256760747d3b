"""The page: inert, small, in two languages, whole without a network."""

from __future__ import annotations

import base64
import hashlib
import html.parser
import re
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from huohou.errors import UserError
from huohou.language import choose_language
from huohou.report.page import MOST_RUNS, render
from huohou.report.runs import load_run, load_runs
from huohou.report.settings import HIDDEN

from .conftest import metrics_of, plan_of

HOSTILE = "</script></style><img src=x onerror=alert(1)>\"'&\x1b]52;c;\u202e\u2028\x00<!--"


class Reader(html.parser.HTMLParser):
    """Collects what a browser would see."""

    def __init__(self, page: str) -> None:
        super().__init__()
        self.tags: list[tuple[str, dict[str, str | None]]] = []
        self.scripts: list[str] = []
        self.styles: list[str] = []
        self.inside: list[str] = []
        self.text: list[str] = []
        self.feed(page)
        self.close()

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, dict(attrs)))
        self.inside.append(tag)

    def handle_endtag(self, tag: str) -> None:
        while self.inside and self.inside.pop() != tag:
            pass

    def handle_data(self, data: str) -> None:
        where = self.inside[-1] if self.inside else ""
        {"script": self.scripts, "style": self.styles}.get(where, self.text).append(data)


def sha(text: str) -> str:
    return base64.b64encode(hashlib.sha256(text.encode()).digest()).decode()


@pytest.fixture
def two(build: Any) -> list[Path]:
    return [build("calm", updates=60, warmup=6), build("harsh", updates=60, warmup=0, harm=1.0)]


def test_the_policy_names_exactly_the_style_and_the_script(two: list[Path]) -> None:
    page = Reader(render(load_runs(two), "huohou report"))
    (policy,) = [a["content"] for t, a in page.tags if t == "meta" and a.get("http-equiv") == "Content-Security-Policy"]
    assert policy is not None and policy.startswith("default-src 'none'; ")
    assert len(page.scripts) == len(page.styles) == 1
    assert f"script-src 'sha256-{sha(page.scripts[0])}'" in policy
    assert f"style-src 'sha256-{sha(page.styles[0])}'" in policy
    assert "unsafe" not in policy and "http" not in policy


def test_nothing_is_loaded_and_no_handler_or_style_stands_in_the_markup(two: list[Path]) -> None:
    text = render(load_runs(two), "huohou report")
    for tag, attributes in Reader(text).tags:
        assert tag not in (
            "img",
            "link",
            "iframe",
            "object",
            "embed",
            "base",
            "form",
            "image",
            "use",
            "foreignobject",
        ), tag
        for name in attributes:
            assert not name.startswith("on") and name not in ("style", "src", "href", "srcset", "xlink:href"), (
                tag,
                name,
            )
    assert "@import" not in text and "url(" not in text and "http://" not in text and "https://" not in text


def test_hostile_text_is_inert_wherever_it_comes_from(build: Any) -> None:
    plan = plan_of(HOSTILE, 30, 3, 1e-3, 1)
    plan["phases"][0]["en"] = plan["phases"][0]["zh"] = HOSTILE
    plan["advice"][0].update(en=HOSTILE, zh=HOSTILE + "中", source=HOSTILE, strength=HOSTILE)
    plan["stage"] = plan["fingerprint"] = HOSTILE
    plan["config"][HOSTILE] = HOSTILE
    lines = metrics_of(plan)
    lines[3]["layers"] = {HOSTILE: 1.0, "b": 2.0}
    events = [
        {"event": HOSTILE, "update": 1, HOSTILE: HOSTILE, "text": {"en": HOSTILE, "zh": "中" + HOSTILE}},
        {"event": "sample", "update": 1, "prompt": HOSTILE, "text": HOSTILE + "\ud800"},
        {"event": "score", HOSTILE: HOSTILE},
        {"event": ["list"], "update": "x"},
    ]
    path = build(plan=plan, lines=lines, events=events)
    (path / "environment.json").write_text('{"cpu": "<script>alert(1)</script>", "time": "<b>"}', encoding="utf-8")
    runs = load_runs([path, path, build("plain", updates=30)])
    text = render(runs, f"huohou report '{HOSTILE}'")
    page = Reader(text)
    assert len(page.scripts) == len(page.styles) == 1
    assert "img" not in [t for t, _ in page.tags]
    assert [t for t, _ in page.tags].count("script") == 1
    assert "onerror=alert(1)" in "".join(page.text), "the text is shown, only as text"
    assert not re.search("[\x00-\x08\x0b-\x1f\x7f-\x9f\u202a-\u202e\ud800-\udfff]", text)


def test_every_text_stands_in_both_languages(two: list[Path]) -> None:
    text = render(load_runs(two), "huohou report")
    en = re.findall(r'<(?:span|text)[^>]* class="en"|<span class="en"', text)
    zh = re.findall(r'<(?:span|text)[^>]* class="zh"|<span class="zh"', text)
    assert len(en) == len(zh) > 100
    for english, chinese in re.findall(
        r'<span class="en" lang="en">(.*?)</span><span class="zh" lang="zh-Hans">(.*?)</span>', text
    ):
        assert not re.search("[\u4e00-\u9fff]", english.replace("火候", "")), english
        assert re.search("[\u4e00-\u9fff]", chinese), chinese
    bare = re.sub(
        r'<span class="(en|zh)".*?</span>|<(script|style|title|code|pre|bdi|dt|dd|td).*?</\2>', "", text, flags=re.S
    )
    words = set(re.findall(r"[A-Za-z]{4,}", re.sub(r"<[^>]*>", " ", bare)))
    allowed = {
        "English",
        "calm",
        "harsh",
        "warmup",
        "decay",
        "embed_tokens",
        "tokens",
        "layers",
        "norm",
        "lm_head",
        "head",
    }
    assert words - allowed <= {"embed", "pretrain", "strong", "arXiv"}, words


@pytest.mark.parametrize(("tongue", "lang"), [("en", "en"), ("zh", "zh-Hans")])
def test_the_language_in_force_is_the_one_chosen(two: list[Path], tongue: Any, lang: str) -> None:
    choose_language(tongue)
    text = render(load_runs(two), "huohou report")
    assert f'<html lang="{lang}">' in text
    assert f'id="lang-{tongue}" autocomplete="off" checked>' in text


def test_two_runs_are_drawn_over_each_other_in_their_own_colours(two: list[Path]) -> None:
    text = render(load_runs(two), "huohou report")
    figure = re.search(r'<figure class="figure" id="figure-loss">.*?</figure>', text, re.S)
    assert figure is not None
    for run in (0, 1):
        for role in ("raw", "smooth", "evaluation"):
            assert f'<path class="{role} r{run}" d="M' in figure[0]
        assert f":root:has(#show{run}:not(:checked)) .figure .r{run}{{display:none}}" in text
    assert "calm" in figure[0] and "harsh" in figure[0]
    assert "schedule.warmup" in text and "one observation" in text and "seed 7" in text


def test_paths_say_the_values(build: Any) -> None:
    """What the script reads back from a path is what was recorded, to a four-thousandth of the axis."""
    run = load_run(build(updates=50))
    figure = re.search(r'id="figure-loss">.*?</figure>', render([run], ""), re.S)
    assert figure is not None
    low, high = (float(v) for v in re.search(r'data-y="(\S+) (\S+)"', figure[0]).groups())  # type: ignore[union-attr]
    path = re.search(r'<path class="raw r0" d="([^"]+)"', figure[0])
    assert path is not None
    numbers = [int(n) for n in re.findall(r"-?\d+", path[1])]
    heights = np.cumsum(numbers[1::2])
    assert low + (high - low) * (1 - heights / 4000) == pytest.approx(run.loss, abs=(high - low) / 4000)


def test_secrets_do_not_reach_the_page(build: Any) -> None:
    plan = plan_of("run", 30, 3, 1e-3, 1)
    plan["config"]["tracker"] = {"swanlab_api_key": "sk-12345", "hf_token": "hf-12345", "password": "p-12345"}
    path = build(plan=plan)
    (path / "environment.json").write_text('{"env": {"WANDB_API_KEY": "w-12345"}}', encoding="utf-8")
    text = render([load_run(path)], "")
    assert "12345" not in text.replace("12,345", "") and HIDDEN in text
    assert "2048" in text, "tokenizer.vocab_size is no secret"


def test_a_run_that_has_only_been_planned_and_one_without_a_plan(build: Any) -> None:
    planned, bare = build("planned", lines=[], events=[]), build("bare")
    (bare / "plan.json").unlink()
    text = render(load_runs([planned, bare]), "")
    assert "No update has been made yet" in text and "could not be compared" in text
    assert 'class="planned r0"' in text and 'class="applied r1"' in text


def test_a_run_off_its_plan_is_said_plainly(build: Any) -> None:
    lines = metrics_of(plan_of("run", 60, 6, 3e-3, 1))
    lines[9]["rate"] += 1e-4
    text = render([load_run(build(lines=lines))], "")
    assert "planned ≠ applied in 1 of 60" in text and "most at update 10, by 1e-4" in text


def test_what_the_runs_do_not_show_is_said(build: Any) -> None:
    plans = [plan_of(name, 60, warmup, 3e-3, 7) for name, warmup in (("a", 6), ("b", 0))]
    for plan in plans:
        plan["config"] = None
    one, two = (build(plan["name"], plan=plan, lines=metrics_of(plan)[:40]) for plan in plans)
    text = render(load_runs([one, two]), "")
    assert "Not all of them are finished" in text and "ended level with" in text and "level on evaluation" in text
    assert "linear → cosine → hold" in text and "settings (warmup_updates, decay_updates, shapes)" in text
    short = build("c", updates=60, lines=metrics_of(plans[0])[:30])
    assert "did not make the same number of updates" in render(load_runs([one, short]), "")
    other = build("d", updates=60, seed=8)
    assert "seeds are not known to be the same" in render(load_runs([one, other]), "")


@pytest.mark.heavy
def test_many_runs_and_many_layers_stay_small(build: Any) -> None:
    """The most runs that a page takes, with long names, many layers, many events and long samples."""
    runs = []
    for i in range(MOST_RUNS):
        name = f"{i:02d}" + "很长的名字" * 30
        plan = plan_of(name, 300, 40 + i, 1e-3, i)
        lines = metrics_of(plan, seed=i, harm=i / 24)
        for line in lines[::3]:
            line["layers"] = {f"model.layers.{n}.mlp": 1.0 + n * line["loss"] for n in range(90)}
            line["evaluation"] = {"loss": line["loss"]}
        events = [{"event": "skip", "update": u, "reason": "很" * 500} for u in range(200)]
        events += [{"event": "sample", "update": u, "text": "很" * 5_000} for u in range(9)]
        runs.append(load_run(build(f"r{i}", plan=plan, lines=lines, events=events)))
    for chosen in (runs, runs[:6], runs[:1]):
        assert len(render(chosen, "huohou report").encode()) <= 300_000
    assert 'class="raw' not in render(runs, "") and 'class="raw' in render(runs[:6], "")
    usual = [load_run(build(f"usual{i}", updates=300, warmup=30, harm=i / 6)) for i in range(6)]
    text = render(usual, "huohou report")
    assert len(text.encode()) <= 300_000 and "Some parts are left out" not in text
    with pytest.raises(UserError, match="25 runs do not fit"):
        render([*runs, runs[0]], "")


def test_settings_of_any_size_leave_the_page_small_and_say_so(build: Any) -> None:
    plan = plan_of("run", 30, 3, 1e-3, 1)
    plan["config"] = {f"{k}长" * 40: "长" * 5000 for k in range(400)}
    path = build(plan=plan)
    (path / "environment.json").write_text(
        str({f"{k}长" * 900: "长" * 5000 for k in range(400)}).replace("'", '"'), "utf-8"
    )
    text = render([load_run(path)], "")
    assert len(text.encode()) <= 300_000
    assert "Some parts are left out" in text and 'id="figure-loss"' in text


def test_the_size_does_not_grow_with_the_run(build: Any) -> None:
    short, long = (load_run(build(f"r{n}", updates=n, warmup=n // 10)) for n in (1000, 20_000))
    sizes = [len(render([run], "").encode()) for run in (short, long)]
    assert max(sizes) < 120_000 and sizes[1] < sizes[0] * 1.2


@pytest.mark.slow
def test_a_million_updates(build: Any) -> None:
    run = load_run(build(updates=1_000_000, warmup=2000))
    text = render([run], "")
    assert len(text.encode()) <= 300_000
    assert "1,000,000 of 1,000,000 updates" in text and "planned = applied" in text


def test_scores_are_written_as_a_person_writes_them(build: Any) -> None:
    page = render([load_run(build())], "huohou report")
    for piece in ("42 %", "33 % – 52 %", "40 / 50", "facts about the people", "故事人物的事实", "2 / 50"):
        assert piece in page, piece
