"""What a run ran on: versions, hardware and the state of the code beside it. No variables of the environment."""

from __future__ import annotations

import os
import platform
import subprocess
import sys
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

import torch

from huohou.train.metrics import now

_PACKAGES = ("huohou", "torch", "numpy", "safetensors", "tokenizers", "sentencepiece", "pyarrow", "pydantic")


def environment() -> dict[str, Any]:
    """Plain data for ``environment.json``."""
    return {
        "time": now(),
        "python": sys.version.split()[0],
        "platform": platform.platform(),
        "versions": {name: found for name in _PACKAGES if (found := installed_version(name)) is not None},
        "hardware": {
            "processor": processor(),
            "cores": os.cpu_count(),
            "memory_bytes": _memory(),
            "gpus": [
                {"name": p.name, "memory_bytes": p.total_memory}
                for p in map(torch.cuda.get_device_properties, range(torch.cuda.device_count()))
            ],
        },
        "threads": torch.get_num_threads(),
        "code": _git(Path.cwd()),
    }


def installed_version(package: str) -> str | None:
    """The version of an installed package."""
    try:
        return version(package)
    except PackageNotFoundError:
        return None


def processor() -> str:
    """The processor's name, as far as the system tells it."""
    try:
        for line in Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines():
            if line.startswith("model name"):
                return line.partition(":")[2].strip()
    except OSError:
        pass
    return platform.processor() or platform.machine()


def _memory() -> int | None:
    try:
        return os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    except (AttributeError, OSError, ValueError):
        return None


def _git(folder: Path) -> dict[str, Any] | None:
    """The commit of the working folder and whether files differ from it; ``None`` outside a repository."""

    def ask(*arguments: str) -> str:
        command = ["git", "-C", str(folder), *arguments]
        return subprocess.run(
            command, capture_output=True, check=True, encoding="utf-8", errors="replace", timeout=10
        ).stdout.strip()

    try:
        return {"commit": ask("rev-parse", "HEAD"), "changed": bool(ask("status", "--porcelain"))}
    except (OSError, subprocess.SubprocessError):
        return None
