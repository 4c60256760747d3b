"""The decoder, opening and growing models, their folders on disk, and writing text with them."""

from huohou.model.config import Llama3Rope, ModelConfig
from huohou.model.folder import read_model, write_model
from huohou.model.foreign import Foreign
from huohou.model.generate import generate, stream
from huohou.model.grow import check_agreement, grow_model
from huohou.model.hub import model_folder
from huohou.model.initialise import build, initialise
from huohou.model.llama import Llama
from huohou.model.load import fill_model, open_model
from huohou.model.parts import part_of
from huohou.model.sampling import Sampling

__all__ = [
    "Foreign",
    "Llama",
    "Llama3Rope",
    "ModelConfig",
    "Sampling",
    "build",
    "check_agreement",
    "fill_model",
    "generate",
    "grow_model",
    "initialise",
    "model_folder",
    "open_model",
    "part_of",
    "read_model",
    "stream",
    "write_model",
]
