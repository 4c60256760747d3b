"""``huohou init``: the file it writes is a run file, in the language asked for, and nothing is overwritten."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from huohou.cli.main import main
from huohou.config import RunConfig, load_run
from huohou.config.presets import PRESETS
from huohou.config.template import example, template
from huohou.config.values import run_name
from huohou.language import choose_language


def test_both_templates_say_the_same_run_in_the_same_lines() -> None:
    texts = [template("run.en.yaml"), template("run.zh.yaml")]
    runs = [RunConfig.from_text(text).resolved() for text in texts]
    assert runs[0] == runs[1]

    def without_comments(text: str) -> list[str]:
        return [re.sub(r"(?<!^)\s+#.*", "", line).rstrip() for line in text.splitlines() if not line.startswith("#")]

    assert without_comments(texts[0]) == without_comments(texts[1])
    assert [line.count("#") for line in texts[0].splitlines()] == [line.count("#") for line in texts[1].splitlines()]


def test_each_language_has_its_own_comments() -> None:
    def comments(name: str) -> str:
        return "".join(re.findall(r"#.*", template(name)))

    assert not re.search("[一-鿿]", comments("run.en.yaml").replace("Chinese", ""))
    assert len(re.findall("[一-鿿]", comments("run.zh.yaml"))) > 200


def test_what_is_written_loads(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    assert main(["init"]) == 0
    assert capsys.readouterr().out == "wrote run.yaml; next: huohou plan run.yaml\n"
    run = load_run("run.yaml")
    assert run.name == "run" and run.model.preset == "4m" and run.data.embedded is not None


def test_it_does_not_overwrite(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = tmp_path / "mine.yaml"
    path.write_text("precious", encoding="utf-8")
    assert main(["init", str(path)]) == 2
    assert "mine.yaml exists already; --force overwrites it" in capsys.readouterr().err
    assert path.read_text(encoding="utf-8") == "precious"
    assert main(["init", str(path), "--force"]) == 0
    assert load_run(path).name == "mine"


def test_the_language_of_the_comments(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = tmp_path / "宋词.yaml"
    assert main(["init", str(path), "--lang", "zh", "--data", "语料/*.jsonl"]) == 0
    choose_language("en")
    text = path.read_text(encoding="utf-8")
    assert "学习率" in text and "已写出" in capsys.readouterr().out
    run = load_run(path)
    assert run.name == "宋词" and run.data.train == ("语料/*.jsonl",) and run.data.embedded is None


@pytest.mark.parametrize("name", PRESETS)
def test_every_preset_can_be_asked_for(name: str) -> None:
    run = RunConfig.from_text(example("en", name="x", model=name))
    assert run.model.preset == name and run.tokenizer.vocab_size == PRESETS[name].vocab_size


def test_larger_models_begin_at_a_lower_peak() -> None:
    peaks = [
        float(RunConfig.from_text(example("en", name="x", model=name)).schedule.peak) for name in ("4m", "110m", "1b")
    ]
    assert peaks == [1e-3, 6e-4, 3e-4]


@pytest.mark.parametrize(
    "path", ["a.txt", "C:\\data\\*.txt", "*.jsonl", "a b#5", "no", "1e5", "语料", 'x"y', "- x", "~"]
)
def test_any_path_is_written_so_that_it_is_read_back(path: str) -> None:
    assert RunConfig.from_text(example("zh", name="x", data=path)).data.train == (path,)


def test_a_name_that_no_folder_can_have_becomes_run() -> None:
    assert run_name("a:b") == "run" and run_name("宋词") == "宋词"


def test_the_list_of_presets(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["init", "--list"]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert [line.split()[0] for line in lines[1:]] == list(PRESETS)


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["nowhere/run.yaml"], "there is no folder nowhere to write run.yaml into."),
        (["."], ". is a folder; name a file, such as run.yaml."),
        (["x.yaml", "--preset", "5m"], "there is no preset '5m'"),
    ],
)
def test_mistakes(
    arguments: list[str], said: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    assert main(["init", *arguments]) == 2
    assert said in capsys.readouterr().err
    assert list(tmp_path.iterdir()) == []


def test_the_demonstration_can_be_had_as_a_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    assert main(["init", "demo.yaml", "--demo"]) == 0
    assert (tmp_path / "demo.yaml").read_text(encoding="utf-8") == template("demo.yaml")
