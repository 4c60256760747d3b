"""What every test may ask for."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from huohou.language import choose_language

SHARED = Path(__file__).resolve().parents[2] / "shared"


@pytest.fixture(autouse=True)
def english() -> Iterator[None]:
    """Messages are English in tests unless a test says otherwise, whatever the machine's locale."""
    choose_language("en")
    yield
    choose_language(None)


@pytest.fixture
def shared_data() -> Path:
    """Real corpora beside the checkout; they are not part of the project."""
    folder = SHARED / "data"
    if not folder.is_dir():
        pytest.skip("the real corpora are not beside this checkout")
    return folder


@pytest.fixture(scope="session")
def tiny_model(tmp_path_factory: pytest.TempPathFactory) -> Callable[[int, float], Path]:
    """Makes a Hugging Face folder without a chat template: some thousand parameters that nobody trained.

    It reads so many positions, and its weights have this standard deviation.
    """

    def make(positions: int, spread: float) -> Path:
        from huohou.data.embedded import documents
        from huohou.data.tokenizer_training import train_tokenizer
        from huohou.model import ModelConfig, build, write_model

        folder = tmp_path_factory.mktemp("tiny") / "model"
        tokenizer = train_tokenizer(list(documents(0, characters=20_000)), 700)
        tokenizer.chat_template = None
        shape = ModelConfig(
            tokenizer.vocab_size, 32, 64, 2, 4, 2, max_position_embeddings=positions, initializer_range=spread,
            eos_token_id=tokenizer.eos_id, bos_token_id=tokenizer.bos_id,
        )  # fmt: skip
        write_model(build(shape, seed=1), folder, tokenizer)
        return folder

    return make
