"""A model of some thousand parameters that nobody trained, with a tokenizer of the embedded corpus."""

from __future__ import annotations

from pathlib import Path

import pytest

from huohou.data.embedded import documents
from huohou.data.tokenizer_training import train_tokenizer
from huohou.model import ModelConfig, build, write_model
from huohou.model.opening import Opened, open_for_use


@pytest.fixture(scope="session")
def tiny(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A Hugging Face folder without a chat template."""
    folder = tmp_path_factory.mktemp("tiny") / "model"
    tokenizer = train_tokenizer(list(documents(0, characters=20_000)), 700)
    tokenizer.chat_template = None
    shape = ModelConfig(
        tokenizer.vocab_size, 32, 64, 2, 4, 2, max_position_embeddings=128, initializer_range=0.3,
        eos_token_id=tokenizer.eos_id, bos_token_id=tokenizer.bos_id,
    )  # fmt: skip
    write_model(build(shape, seed=1), folder, tokenizer)
    return folder


@pytest.fixture(scope="session")
def opened(tiny: Path) -> Opened:
    return open_for_use(tiny, device="cpu")
