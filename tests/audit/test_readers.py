"""Other people's files are read and never run, and hostile ones end in a sentence."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from huohou.audit.command_line import flags
from huohou.audit.document import Document
from huohou.audit.examine import Audit, examine
from huohou.audit.python import read_python
from huohou.audit.reading import Given
from huohou.audit.shell import UNKNOWN, read_shell
from huohou.audit.source import COMMAND, LARGEST, Source, read_source
from huohou.audit.structured import read_json, read_toml, read_yaml
from huohou.audit.values import Settings
from huohou.errors import UserError


def audit(text: str, name: str, **given: Any) -> Audit:
    return examine(Document(Source(name, text, Path(name))), Given(**given))


def words(text: str, **variables: str) -> list[list[str]]:
    return [[word.text for word in command.words] for command in read_shell(text, variables).commands]


@pytest.mark.parametrize(
    ("text", "read"),
    [
        ("python a.py --lr 1 # no", [["python", "a.py", "--lr", "1"]]),
        ("A=2\npython a.py --x $A ${A} ${A:-3} ${B:-3}", [["python", "a.py", "--x", "2", "2", "2", "3"]]),
        ("A='1 2'\npython a.py $A \"$A\"", [["python", "a.py", "1", "2", "1 2"]]),
        ('ARGS=(--lr 1\n  --wd 2)\npython a.py "${ARGS[@]}"', [["python", "a.py", "--lr", "1", "--wd", "2"]]),
        ("N=4; python a.py $((N * 8 / 3)) > log 2>&1", [["python", "a.py", "10"]]),
        ("python a.py \\\n  --lr 1 \\\n  --wd 2", [["python", "a.py", "--lr", "1", "--wd", "2"]]),
        ("python a.py $(rm -rf /) `id` $1 $RANDOM", [["python", "a.py", *[UNKNOWN] * 4]]),
        ("cat <<EOF\n--lr 5\nEOF\npython a.py", [["cat"], ["python", "a.py"]]),
        (
            "read -r -d '' C <<EOF\na.py \\\n --lr 1\nEOF\npython $C",
            [["read", "-r", "-d", "", "C"], ["python", "a.py", "--lr", "1"]],
        ),
        ("A=1 torchrun a.py && echo done", [["torchrun", "a.py"], ["echo", "done"]]),
    ],
)
def test_shell(text: str, read: list[list[str]]) -> None:
    assert words(text) == read


def test_shell_knows_the_lines_of_words_and_where_a_command_is_cut() -> None:
    script = read_shell("python a.py \\\n  --lr 1 \\\n  # --wd 2 \\\n  --seed 3\n")
    assert [cut.line for cut in script.cuts] == [3]
    settings = flags(script.commands[0], "a.sh")
    assert settings.find("lr") is not None and settings.values["lr"].line == 2
    assert "wd" not in settings and "seed" not in settings


def test_the_members_of_a_name_are_handed_on() -> None:
    text = (
        "p.add_argument('--lr', default=1)\n"
        "cfg = dict(a=2)\n"
        "cfg.inner = {'b': 3}\n"
        "args.sub = parse_args()\n"
        "f(**cfg, a=4)\n"
        "opt = parser.parse_args()\n"
        "g(**opt)\n"
    )
    module = read_python(Source("a.py", text, Path("a.py")))
    assert module is not None
    f, g = (next(call for call in module.calls if call.name == name) for name in "fg")
    assert {key: value.value for key, value in f.settings.values.items() if value.known} == {"a": 2, "inner.b": 3} | {
        "inner": {"b": 3}, "a": 4
    }  # fmt: skip
    assert (g.settings.number("lr"), g.settings.number("sub.lr")) == (1, 1)


def test_calls_in_calls_are_written_out_within_bounds(monkeypatch: pytest.MonkeyPatch) -> None:
    """Each level would be written out again: a short file of many deep calls would take minutes."""
    monkeypatch.setattr("huohou.audit.python._MOST_WRITTEN", 1000)
    text = f"x = {'f(' * 40}1{')' * 40}\n" + "y = g(a + 1, b)\n"
    module = read_python(Source("a.py", text, Path("a.py")))
    assert module is not None
    assert [value.written for value in module.calls[0].positional] == ["f(" * 39 + "1" + ")" * 39]
    assert [value.written for value in module.calls[-1].positional] == ["…", "b"]


def test_a_number_that_cannot_be_written_out_is_no_python() -> None:
    assert read_python(Source("a.py", f"f(0x{'f' * 6000})", Path("a.py"))) is None


def test_flags_of_a_command() -> None:
    (command,) = read_shell(
        "torchrun --nproc_per_node 8 a.py --lr=1e-4 --min-lr -1 --fp16 --x a b trainer.y=3"
    ).commands
    settings = flags(command, "a.sh")
    assert settings.name == "a.py"
    assert settings.number("lr") == 1e-4 and settings.number("min_lr") == -1
    assert settings.flag("fp16") is True
    assert settings.get("x") == ["a", "b", "trainer.y=3"]


def names(text: str) -> dict[str, Any]:
    module = read_python(Source("a.py", text, Path("a.py")))
    assert module is not None
    return {key: value.value for key, value in module.calls[-1].settings.values.items()}


@pytest.mark.parametrize(
    ("text", "values"),
    [
        ("f(a=1, b=-2.5, c='x', d=[1, 2])", {"a": 1, "b": -2.5, "c": "x", "d": [1, 2]}),
        ("n = 3\nf(a=n * 2 ** 2 / 6)", {"a": 2.0}),
        ("k = dict(a=1, b=2)\nf(**k)", {"a": 1, "b": 2}),
        ("k = {'a': 1}\nf(**k, b=2)", {"a": 1, "b": 2}),
        ("n = 5\nn = max(int(0.05 * 100), math.ceil(7 / 2))\nf(a=n)", {"a": 5}),
        ("f(a=SchedulerType.COSINE)", {"a": "cosine"}),
        ("p.add_argument('--lr', default=1e-4)\nf(a=args.lr)", {"a": 1e-4}),
    ],
)
def test_python(text: str, values: dict[str, Any]) -> None:
    assert names(text) == values


@pytest.mark.parametrize(
    "value",
    ["max(1)", "9 ** 9 ** 9", "(-8) ** 0.5", "1 / 0", "open('x').read()", "x", "'a' * 10 ** 9", "1e300 * 1e300"],
)
def test_python_that_would_have_to_be_run_is_unreadable(value: str) -> None:
    module = read_python(Source("a.py", f"f(a={value})", Path("a.py")))
    assert module is not None
    call = next(call for call in module.calls if call.name == "f")
    assert not call.settings.values["a"].known


def test_notebooks() -> None:
    text = '{"cells": [{"cell_type": "code", "source": ["!pip install x\\n", "f(a=1)"]}, {"cell_type": "markdown"}]}'
    module = read_python(Source("a.ipynb", text, Path("a.ipynb")))
    assert module is not None and module.calls[0].settings.values["a"].value == 1


def test_structured_files_keep_lines_and_text() -> None:
    yaml = read_yaml(Source("a.yaml", "base: &b\n  lr: 2e-5\nrun:\n  <<: *b\n  steps: 1_000\n"))
    assert yaml.number("run.lr") == 2e-5 and yaml.values["run.lr"].value == "2e-5"
    assert yaml.values["run.steps"].line == 5 and yaml.whole("run.steps") == 1000
    toml = read_toml(Source("a.toml", "[a]\nx = 1\n"))
    assert toml.whole("a.x") == 1 and toml.values["a.x"].line == 2
    json = read_json(Source("a.json", '{\n\t"a": {"x": 1}\n}'))
    assert json.whole("a.x") == 1 and json.values["a.x"].line == 2


BOMB = "a: &a [x, x, x, x, x, x, x, x, x]\n" + "".join(
    f"{new}: &{new} [{', '.join(['*' + old] * 9)}]\n" for old, new in zip("abcdefgh", "bcdefghi", strict=True)
)
TRAINING = "learning_rate: 1e-4\nlr_scheduler_type: cosine\nnum_train_epochs: 1\nwarmup_steps: 5\n"
HOSTILE = {
    "aliases.yaml": BOMB + TRAINING,
    "deep.yaml": "a: " + "[" * 100_000,
    "dashes.yaml": "- " * 50_000,
    "recursive.yaml": "a: &a\n  b: *a\n" + TRAINING,
    "tag.yaml": "a: !!python/object/apply:os.system ['touch HIT']\n" + TRAINING,
    "deep.json": '{"a": ' + "[" * 100_000,
    "many.json": "[" + "1," * 200_000 + "1]",
    "long.toml": "a = [" + "[" * 5_000,
    "nested.py": "(" * 5_000,
    "minus.py": "x = " + "-" * 50_000 + "1",
    "sum.py": "x = " + "1+" * 50_000 + "1",
    "dots.py": "a" + ".b" * 50_000,
    "effects.py": "import os\nos.system('touch HIT')\nTrainingArguments(max_steps=__import__('os').system('touch HIT'))",
    "effects.sh": "touch HIT\npython a.py --learning_rate $(touch HIT) --max_steps `touch HIT` --warmup_steps 1",
    "doubling.sh": "A=xx\n" + "A=$A$A\n" * 200 + "python a.py --learning_rate $A --max_steps 1",
    "words.sh": "A='" + "x " * 1000 + "'\n" + "B=($A $A)\n" * 50 + "python a.py " + "${B[@]} " * 1000,
    "braces.sh": "${A:-" * 50_000,
    "substitutions.sh": "$(" * 200_000,
    "slashes.sh": "\\ " * 200_000,
    "quote.sh": 'python a.py "' + "$A" * 100_000,
    "huge.yaml": TRAINING.replace("5", "9" * 5000) + f"max_steps: {'9' * 300}\n",
    "zero.yaml": TRAINING.replace("1e-4", "0") + "max_steps: 100\nlr_scheduler_kwargs: {lr_end: 1}\n",
    "nan.yaml": "learning_rate: .nan\nlr_scheduler_type: polynomial\nmax_steps: 100\nwarmup_steps: .inf\n",
    "inf.yaml": "learning_rate: 1e-320\nlr_scheduler_type: cosine_with_min_lr\nmax_steps: 100\nwarmup_steps: 1\n"
    "lr_scheduler_kwargs: {min_lr: 1.0}\n",
}


@pytest.mark.parametrize("name", sorted(HOSTILE))
def test_hostile_files_are_inert(name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from huohou.audit.plain import plain
    from huohou.audit.text import render

    monkeypatch.chdir(tmp_path)
    (tmp_path / name).write_text(HOSTILE[name], encoding="utf-8")
    try:
        found = examine(Document(read_source(name)), Given())
        assert render(found)
        assert plain(found)
    except UserError as error:
        assert str(error).endswith(".") and "\n" not in str(error)
    assert not (tmp_path / "HIT").exists()


def test_large_and_binary_files_are_not_read(tmp_path: Path) -> None:
    large = tmp_path / "large.yaml"
    with open(large, "wb") as file:
        file.truncate(100 * 1024 * 1024)
    with pytest.raises(UserError, match="larger than"):
        read_source(str(large))
    binary = tmp_path / "a.yaml"
    binary.write_bytes(b"a: 1\n\0\1\2")
    with pytest.raises(UserError, match="binary"):
        read_source(str(binary))
    assert LARGEST < 100 * 1024 * 1024
    with pytest.raises(UserError, match="does not exist"):
        read_source(str(tmp_path / "none.yaml"))


def test_text_of_windows_and_of_old_chinese_editors(tmp_path: Path) -> None:
    for encoding in ("utf-8-sig", "utf-16", "gb18030"):
        path = tmp_path / f"{encoding}.yaml"
        path.write_bytes("# 学习率\r\nlearning_rate: 1e-4\r\n".encode(encoding))
        assert read_source(str(path)).text == "# 学习率\nlearning_rate: 1e-4\n"


def test_a_pasted_command_is_a_command() -> None:
    source = Source(COMMAND, "torchrun a.py --learning_rate 1e-4 --max_steps 100 --warmup_steps 10")
    (reading,) = examine(Document(source), Given()).readings
    assert reading.roles[0].warmup == 10 and reading.settings.name == "a.py"


def test_a_named_file_is_looked_for_beside_and_above(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    repository = tmp_path / "repository"
    scripts = repository / "scripts" / "deep"
    scripts.mkdir(parents=True)
    (repository / ".git").mkdir()
    (tmp_path / "ds.json").write_text('{"scheduler": {"type": "OneCycle"}}', encoding="utf-8")
    run = scripts / "run.sh"
    run.write_text(
        "python a.py --learning_rate 1e-4 --max_steps 100 --warmup_steps 10 --deepspeed ds.json", encoding="utf-8"
    )
    work = tmp_path / "elsewhere"
    work.mkdir()
    monkeypatch.chdir(work)

    def inner() -> Any:
        (reading,) = examine(Document(read_source(str(run))), Given()).readings
        return reading.facts.get("deepspeed_scheduler"), [str(text) for text in reading.assumptions]

    absent, said = inner()
    # A file above the repository's root is none of its own.
    assert absent is None and any("ds.json was not found" in text for text in said)
    config = '{"scheduler": {"type": "WarmupLR", "params": {"warmup_num_steps": "auto", "warmup_max_lr": "auto"}}}'
    (repository / "ds.json").write_text(config, encoding="utf-8")
    found, said = inner()
    assert found == "WarmupLR" and any("is used" in text for text in said)


def test_numbers_that_are_written_as_text() -> None:
    settings = Settings()
    assert settings.number("x") is None
    found = audit(TRAINING + "max_steps: 1e3\n", "a.yaml")
    assert found.readings[0].roles[0].applied.updates == 1000


def test_a_warmup_that_is_a_share_of_a_length_which_is_given() -> None:
    text = (
        "total = len(loader) * 3\nwarmup = int(0.03 * total)\no = AdamW(m.parameters(), lr=1e-4)\n"
        "s = get_cosine_schedule_with_warmup(o, num_warmup_steps=warmup, num_training_steps=total)\n"
    )
    (role,) = audit(text, "a.py", updates=1000).readings[0].roles
    assert role.warmup == 30 and role.horizon == 1000
    (reading,) = audit(text, "a.py").readings
    assert not reading.roles and "total" in str(reading.missing[0])


def test_both_branches_of_a_script_are_one_run_where_they_do_the_same() -> None:
    from huohou.audit.plain import named_roles

    command = "deepspeed main.py --data_split 1,1,1 --zero_stage 2 --learning_rate 1e-4 --num_warmup_steps {}\n"
    same = "if [ $1 ]; then\n" + command.format(5) + "else\n" + command.format(5) + "fi\n"
    assert [name for name, _ in named_roles(audit(same, "a.sh", updates=100))] == ["model"]
    apart = command.format(5) + command.format(6)
    assert [name for name, _ in named_roles(audit(apart, "a.sh", updates=100))] == ["model", "model-2"]


def test_a_name_that_is_set_again_forgets_what_it_was() -> None:
    module = read_python(Source("a.py", "n = 5\nn = f()\ng(a=n)", Path("a.py")))
    assert module is not None and not module.calls[-1].settings.values["a"].known
