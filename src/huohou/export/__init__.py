"""From a run, an adapter or a foreign file of weights to a Hugging Face folder."""

from huohou.export.writing import Exported, export

__all__ = ["Exported", "export"]
