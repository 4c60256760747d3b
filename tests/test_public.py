"""The public interface: every name is there, and nothing is imported before it is asked for."""

from __future__ import annotations

import subprocess
import sys

import pytest

import huohou


def run(code: str) -> None:
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr


def test_importing_huohou_imports_next_to_nothing() -> None:
    run(
        "import sys, huohou; "
        "assert not {'huohou.schedule', 'huohou.units', 'huohou.config', 'yaml'} & set(sys.modules); "
        "assert huohou.Curve is huohou.Curve and huohou.plan(updates=10, peak='1e-3').warmup_updates == 3"
    )


def test_a_name_that_is_not_there_is_said() -> None:
    with pytest.raises(AttributeError, match="module 'huohou' has no attribute 'nothing'"):
        _ = huohou.nothing  # pyright: ignore[reportAttributeAccessIssue]


@pytest.mark.heavy
def test_every_public_name_stays_what_it_is() -> None:
    """``huohou.train`` is a function and the name of a package, which takes its place as it is imported."""
    run(
        "import huohou; first = [getattr(huohou, name) for name in huohou.__all__]; "
        "assert [getattr(huohou, name) for name in huohou.__all__] == first; "
        "assert callable(huohou.train) and callable(huohou.plan)"
    )
