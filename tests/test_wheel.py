"""The wheel, unpacked alone: it carries its data, and plans without torch or tokenizers."""

from __future__ import annotations

import subprocess
import sys
import zipfile
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]

ALONE = """
import sys
sys.path.insert(0, {wheel!r})
class Block:
    def find_spec(self, name, path=None, target=None):
        if name.split(".")[0] in ("torch", "transformers", "tokenizers", "sentencepiece", "pyarrow", "matplotlib"):
            raise ModuleNotFoundError(name, name=name)
sys.meta_path.insert(0, Block())
import huohou
assert huohou.__file__.startswith({wheel!r}), huohou.__file__
from huohou.cli.main import main
raise SystemExit(main({arguments!r}))
"""


@pytest.mark.heavy
def test_the_wheel_alone_makes_a_run_file_and_plans_it(tmp_path: Path) -> None:
    pytest.importorskip("hatchling")
    build = [sys.executable, "-m", "build", "--wheel", "--no-isolation", "--outdir", str(tmp_path), str(ROOT)]
    subprocess.run(build, check=True, capture_output=True)
    (wheel,) = tmp_path.glob("*.whl")
    unpacked = tmp_path / "alone"
    zipfile.ZipFile(wheel).extractall(unpacked)
    assert not (unpacked / "tests").exists()

    def alone(*arguments: str) -> str:
        code = ALONE.format(wheel=str(unpacked), arguments=list(arguments))
        done = subprocess.run([sys.executable, "-c", code], cwd=tmp_path, capture_output=True, text=True, check=False)
        assert done.returncode == 0, done.stderr
        return done.stdout

    alone("init", "my.yaml")
    alone("init", "demo.yaml", "--demo")
    assert "W = 60 · 10%" in alone("plan", "demo.yaml")
    assert "T = " in alone("plan", "my.yaml")
    assert alone("plan", "--updates", "10", "--peak", "1", "--warmup", "off", "--rates", "1") == "1 1.0\n"
    assert len(alone("data", "embedded", "--characters", "2k", "--output", "c.txt")) > 0
