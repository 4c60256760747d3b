"""The run file: read, checked and resolved."""

from huohou.config.run import RunConfig, load_run

__all__ = ["RunConfig", "load_run"]
