"""The loss of a model folder on the validation sequences of a run file: ``evaluate RUN MODEL`` prints JSON."""

from __future__ import annotations

import json
import sys
from pathlib import Path

from huohou.config import load_run
from huohou.data.order import Order
from huohou.model import read_model
from huohou.plan.facts import prepare
from huohou.stages.lm import LanguageModelling

if __name__ == "__main__":
    prepared = prepare(load_run(sys.argv[1]))
    stage = LanguageModelling(
        prepared.train, Order(prepared.train.count, 1, 0), micro_batch=8, validation=prepared.validation
    )
    print(json.dumps(stage.evaluate(read_model(Path(sys.argv[2])).eval())))
