"""The decoder, its first weights, its folder on disk, and writing text with it."""

from huohou.model.config import Llama3Rope, ModelConfig
from huohou.model.folder import read_model, write_model
from huohou.model.generate import generate
from huohou.model.initialise import build, initialise
from huohou.model.llama import Llama

__all__ = ["Llama", "Llama3Rope", "ModelConfig", "build", "generate", "initialise", "read_model", "write_model"]
