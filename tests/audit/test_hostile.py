"""What a hostile or broken file does to the audit: nothing. It ends in a sentence, writes no file and runs nothing."""

from __future__ import annotations

import json
import os
import sys
from pathlib import Path

import pytest

from huohou.cli.main import main

RUN = "learning_rate: 1e-4\nlr_scheduler_type: cosine\nmax_steps: 9\nper_device_train_batch_size: 1\n"
TOUCH = "touch OWNED"
ALIASES = "a: &a [x, x, x, x, x, x, x, x, x]\n" + "".join(
    f"{chr(98 + i)}: &{chr(98 + i)} [{', '.join(['*' + chr(97 + i)] * 9)}]\n" for i in range(9)
)
MERGES = "a0: &a0 {k0: 1}\n" + "".join(f"a{i}: &a{i}\n  <<: [*a{i - 1}, *a{i - 1}]\n" for i in range(1, 40))
LOOPS = "".join(f"for a{i} in 1 2 3 4 5 6 7 8 9; do\n" for i in range(20)) + "echo $a1\n" + "done\n" * 20
CALLS = "f() { f; f; }\nf\n" + "".join(f"g{i}() {{ g{i + 1}; g{i + 1}; }}\n" for i in range(40)) + "g0\n"

REFUSED: dict[str, str | bytes] = {
    # Bombs and depth.
    "aliases.yaml": ALIASES,
    "merges.yaml": MERGES,
    "many.yaml": "a: [" + "1," * 700_000 + "1]",
    "deep.yaml": "[" * 20_000,
    "mappings.yaml": "".join(" " * i + "a:\n" for i in range(500)),
    "deep.json": '{"a":' * 900 + "1" + "}" * 900,
    "deeper.json": '{"a":' * 50_000,
    "dots.toml": ".".join(["a"] * 20_000) + " = 1",
    "deep.toml": "a = " + "[" * 20_000,
    "deep.py": "x = " + "(" * 20_000,
    "minus.py": "x = " + "-" * 50_000 + "1",
    "sum.py": "x = " + "+".join(["1"] * 30_000),
    "dotted.py": "x" + ".a" * 30_000 + "()",
    "deep.ipynb": '{"cells":' + "[" * 5_000,
    "substitutions.sh": "$(" * 20_000,
    "braces.sh": "${a:-" * 20_000,
    "documents.sh": "cat <<A\nA\n" * 5_000,
    "shells.sh": "bash -c " * 5_000,
    "calls.sh": CALLS,
    "loops.sh": LOOPS,
    "self.sh": "source ./self.sh\n. self.sh\nbash self.sh\nbash self.sh 1\n",
    "fork.sh": "bash fork.sh\n" * 200,
    "eval.sh": 'A=\'eval "$A"\'\neval "$A"\n',
    # Size and shape.
    "large.yaml": b" " * (8 * 1024 * 1024 + 1),
    "line.yaml": b"a: " + b"x" * 2_000_000,
    "line.sh": b"a" * 2_000_000,
    "variables.sh": "\n".join(f"A{i}='--a --b --c {i}'" for i in range(3_000)),
    "key.yaml": "lr_" * 30_000 + ": 1\n",
    "empty.yaml": "",
    # No text.
    "binary.yaml": bytes(range(256)) * 100,
    "zero.sh": b"swift sft\0 --learning_rate 1e-4\n",
    "half.yaml": b"\xff\xfea\x00b",
    "broken.yaml": b"learning_rate: 1e-4 # \xff\xfe\x80\n",
    # No notebooks.
    "text.ipynb": "not JSON",
    "list.ipynb": "[1]",
    "number.ipynb": '{"cells": 3}',
}
"""Files that end in status 2 and one sentence."""

READ: dict[str, str] = {
    # What would have to be run stays unknown.
    "substitution.sh": f"A=$({TOUCH})\nB=`{TOUCH}`\nswift sft --learning_rate $({TOUCH}) --max_steps `{TOUCH}`\n",
    "effects.py": (
        "import os\nos.system('touch OWNED')\nopen('OWNED', 'w')\n__import__('pathlib').Path('OWNED').touch()\n"
        'TrainingArguments(learning_rate=1e-4, max_steps=10, warmup_steps=eval(\'open("OWNED", "w")\'))\n'
    ),
    "powers.py": "x = 9**9**9**9\ny = 'a' * 10**10\nTrainingArguments(learning_rate=9**9**9, max_steps=1 << 10**9)\n",
    "tags.yaml": RUN + "a: !!python/object/apply:os.system ['touch OWNED']\n",
    "cell.ipynb": json.dumps(
        {
            "cells": [
                {"cell_type": "code", "source": [1, 2]},
                {"cell_type": "code"},
                {"cell_type": "code", "source": f"!{TOUCH}\nTrainingArguments(learning_rate=1e-4, max_steps=9)"},
            ]
        }
    ),
    # Values without measure.
    "doubled.sh": "a=xxxxxxxxxx\n" + "a=$a$a\n" * 60 + "swift sft --learning_rate $a --max_steps 9\n",
    "digits.yaml": RUN.replace("1e-4", "1" * 100_000 + "x"),
    "infinite.yaml": RUN.replace("1e-4", ".nan").replace("9", ".inf"),
    "enormous.yaml": RUN.replace("1e-4", "1e299"),
    # What it names is looked for, and never waited for.
    "device.yaml": RUN + "deepspeed: /dev/zero\n",
    "long.yaml": RUN + "deepspeed: " + "a/" * 5_000 + "\n",
    "zero.yaml": RUN + 'deepspeed: "a\\0b"\n',
    "itself.sh": "swift sft --config itself.sh\nllamafactory-cli train itself.sh\n",
}
"""Files that are read as far as they say something."""


def put(folder: Path, name: str, content: str | bytes) -> Path:
    path = folder / name
    path.write_bytes(content if isinstance(content, bytes) else content.encode())
    return path


@pytest.mark.parametrize("name", REFUSED)
def test_it_ends_in_a_sentence(
    name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    put(tmp_path, name, REFUSED[name])
    assert main(["audit", name]) == 2
    shown = capsys.readouterr()
    assert name in shown.err and shown.err.count("\n") == 1 and len(shown.err) < 400
    assert not shown.out
    # With --json the same is one object.
    assert main(["audit", name, "--json"]) == 2
    assert json.loads(capsys.readouterr().out)["error"]
    assert [path.name for path in tmp_path.iterdir()] == [name]


@pytest.mark.parametrize("name", READ)
def test_nothing_of_it_is_run(
    name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    put(tmp_path, name, READ[name])
    assert main(["audit", name, "--fail-on", "never"]) in (0, 2)
    shown = capsys.readouterr()
    assert "Traceback" not in shown.err and (shown.out or shown.err.count("\n") == 1)
    assert [path.name for path in tmp_path.iterdir()] == [name]


@pytest.mark.skipif(sys.platform == "win32", reason="no such files there")
def test_pipes_devices_and_loops_of_links(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    os.mkfifo("pipe.yaml")
    Path("device.yaml").symlink_to("/dev/zero")
    Path("loop.yaml").symlink_to("loop.yaml")
    Path("nowhere.yaml").symlink_to("nothing")
    Path("around").symlink_to(".")
    for name in ("pipe.yaml", "device.yaml", "loop.yaml", "nowhere.yaml"):
        assert main(["audit", name]) == 2
        assert name in capsys.readouterr().err
    # One that a configuration names is not waited for either.
    put(tmp_path, "run.yaml", RUN + "deepspeed: pipe.yaml\n")
    assert main(["audit", "run.yaml", "--fail-on", "never"]) == 0
    assert "pipe.yaml" in capsys.readouterr().out
    # In a folder they are left out with a line, and what else is there is read.
    assert main(["audit", ".", "--fail-on", "never"]) == 0
    out = capsys.readouterr().out
    assert "1 files train something, 0 were not understood" in out and "4 were skipped" in out
    for name in ("pipe.yaml", "device.yaml", "loop.yaml", "nowhere.yaml"):
        assert f"{name}: " in out


def test_a_folder_of_all_of_them(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    small = [name for name, content in REFUSED.items() if len(content) < 30_000]
    for name in small:
        put(tmp_path, name, REFUSED[name])
    put(tmp_path, "run.yaml", RUN)
    assert main(["audit", ".", "--json", "--fail-on", "never"]) == 0
    found = json.loads(capsys.readouterr().out)
    assert [Path(each["file"]).name for each in found["files"]] == ["run.yaml"]
    assert {Path(each["file"]).name for each in found["skipped"]} == {
        "binary.yaml",
        "broken.yaml",
        "half.yaml",
        "zero.sh",
    }
    assert found["rules"] and sum(found["rules"].values()) == len(found["findings"])
