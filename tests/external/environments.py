"""Environments in which other frameworks' own code tells its learning rates: one for each version that is compared.

    python tests/external/environments.py FOLDER [NAME…]

Each is a virtual environment below FOLDER with one framework at a pinned version, installed without what it depends on;
what it has not itself (PyTorch above all) it borrows from the environment that runs this script. What is there already
is left alone. ``HUOHOU_FRAMEWORKS=FOLDER pytest tests/external/test_frameworks.py`` then compares; the one called
``adapters`` runs ``tests/adapters`` itself. ``make frameworks`` does all of it.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import sysconfig
import venv
from pathlib import Path

_REQUESTS = ("requests==2.32.5", "urllib3==2.5.0", "idna==3.11", "charset-normalizer==3.4.4", "certifi==2025.11.12")
"""What the Hub's older clients speak through."""

_OPTAX = ("optax==0.2.8", "jax==0.7.2", "jaxlib==0.7.2", "absl-py==2.3.1", "opt-einsum==3.4.0", "ml-dtypes==0.5.3",
          "scipy==1.16.3")  # fmt: skip
_TORCHTITAN = ("torchtitan==0.3.0", "tyro==0.9.35", "torchdata==0.11.0", "typeguard==4.4.4",
               "docstring-parser==0.17.0", "shtab==1.7.2", "spmd_types==0.2.3")  # fmt: skip

ENVIRONMENTS: dict[str, tuple[str, ...]] = {
    # The last of each era; the project's own environment has the newest.
    "transformers-4.51": ("transformers==4.51.3", "tokenizers==0.21.4", "huggingface-hub==0.36.0", *_REQUESTS),
    "transformers-4.57": ("transformers==4.57.6", "tokenizers==0.22.2", "huggingface-hub==0.36.0", *_REQUESTS),
    "transformers-5.14": ("transformers==5.14.1", "tokenizers==0.22.2", "huggingface-hub==1.5.0", "httpx==0.28.1",
                          "httpcore==1.0.9", "h11==0.16.0", "anyio==4.12.0", "sniffio==1.3.1", "certifi==2025.11.12"),
    # Before its first step was right, before WarmupLR took the optimizer's rate, before its cosine held its end.
    "deepspeed-0.15.2": ("wheel==0.45.1", "deepspeed==0.15.2"),
    "deepspeed-0.17.1": ("wheel==0.45.1", "deepspeed==0.17.1"),
    "deepspeed-0.19.2": ("wheel==0.45.1", "deepspeed==0.19.2"),
    "optax": _OPTAX,
    "torchtitan": _TORCHTITAN,
    # What our adapters are tried in besides what the project's own environment has.
    "adapters": ("lightning==2.6.1", "pytorch-lightning==2.6.1", "lightning-utilities==0.15.2", "torchmetrics==1.8.2",
                 *_OPTAX, *_TORCHTITAN),
    "torchtune": ("torchtune==0.6.1", "torchdata==0.11.0", "omegaconf==2.3.0", "antlr4-python3-runtime==4.9.3",
                  "torchao==0.14.1", "tiktoken==0.12.0", "blobfile==3.1.0", "sentencepiece==0.2.1",
                  "kagglehub==0.3.13", "lxml==6.0.2", "pycryptodomex==3.23.0"),
    "litgpt": ("litgpt==0.5.13", "lightning==2.6.1", "lightning-utilities==0.15.2", "torchmetrics==1.8.2",
               "jsonargparse==4.41.0", "typeshed-client==2.8.2", "docstring-parser==0.17.0",
               "importlib-resources==6.5.2"),
    "megatron": ("megatron-core==0.16.1",),
}  # fmt: skip


def interpreter(folder: Path, name: str) -> Path:
    """Where an environment's Python is."""
    return folder / name / ("Scripts/python.exe" if os.name == "nt" else "bin/python")


def make(folder: Path, name: str) -> None:
    """Make one environment, unless it is there with the same packages.

    Raises:
        subprocess.CalledProcessError: A package could not be installed.
    """
    place, wanted = folder / name, "\n".join(ENVIRONMENTS[name]) + "\n"
    if (place / "made").exists() and (place / "made").read_text(encoding="utf-8") == wanted:
        return
    shutil.rmtree(place, ignore_errors=True)
    venv.create(place, with_pip=True)
    python = str(interpreter(folder, name))
    packages = subprocess.run(
        [python, "-c", "import sysconfig; print(sysconfig.get_path('purelib'))"],
        check=True, capture_output=True, text=True,
    ).stdout.strip()  # fmt: skip
    # Behind its own packages, so that those go before the borrowed ones.
    (Path(packages) / "zz_borrowed.pth").write_text(sysconfig.get_path("purelib") + "\n", encoding="utf-8")
    for package in ENVIRONMENTS[name]:
        # A source package that asks for PyTorch while it is built finds the borrowed one.
        isolated = [] if not package.startswith("deepspeed") else ["--no-build-isolation"]
        subprocess.run(
            [python, "-m", "pip", "--disable-pip-version-check", "install", "-q", "--no-deps", *isolated, package],
            check=True,
            env={**os.environ, "DS_BUILD_OPS": "0"},
        )
    (place / "made").write_text(wanted, encoding="utf-8")


def main() -> None:
    """Make those that are named, or all."""
    if len(sys.argv) < 2:
        sys.exit(__doc__)
    folder = Path(sys.argv[1]).resolve()
    failed: list[str] = []
    for name in sys.argv[2:] or ENVIRONMENTS:
        try:
            make(folder, name)
        except subprocess.CalledProcessError as error:
            failed.append(f"{name}: {error}")
        else:
            print(name, flush=True)
    if failed:
        sys.exit("\n".join(failed))


if __name__ == "__main__":
    main()
