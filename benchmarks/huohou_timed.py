"""``huohou ARGUMENTS``, with the moment at which each update began written to the first argument."""

from __future__ import annotations

import json
import sys
import time
from pathlib import Path
from typing import Any

from huohou.cli.main import main as huohou
from huohou.train.trainer import Trainer

if __name__ == "__main__":
    began: list[float] = []
    attempt = Trainer.attempt

    def timed(self: Trainer, batch: Any) -> dict[str, Any]:
        """An update as it is."""
        began.append(time.monotonic())
        return attempt(self, batch)

    Trainer.attempt = timed
    status = huohou(sys.argv[2:])
    Path(sys.argv[1]).write_text(json.dumps(began), encoding="utf-8")
    sys.exit(status)
