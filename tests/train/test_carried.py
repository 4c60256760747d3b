from __future__ import annotations

from pathlib import Path

import pytest
import torch
from small import small_trainer

from huohou.errors import UserError
from huohou.train.carried import carry


def test_moments_come_along_by_name_and_shape(tmp_path: Path) -> None:
    before = small_trainer(tmp_path / "before", updates=6)
    before.run()
    after = small_trainer(tmp_path / "after")
    after.engine.model.layers[1].register_parameter("new_weight", torch.nn.Parameter(torch.ones(2, 2)))
    after.engine.optimizer.add_param_group(
        {"params": [after.engine.model.layers[1].new_weight], "weight_decay": 0.0, "curve": "all"}
    )
    said = carry(after.engine, str(tmp_path / "before"))
    assert said.en.startswith("carried over the optimizer state of 7 of 8 parameters")
    old, new = dict(before.engine.model.named_parameters()), dict(after.engine.model.named_parameters())
    for name, parameter in old.items():
        held = after.engine.optimizer.state[new[name]]
        assert torch.equal(held["exp_avg"], before.engine.optimizer.state[parameter]["exp_avg"])
        assert held["step"] == 6
    assert not after.engine.optimizer.state[new["layers.1.new_weight"]]
    assert all(group["lr"] == 0.0 for group in after.engine.optimizer.param_groups)


def test_what_holds_no_state_is_a_mistake(tmp_path: Path) -> None:
    trainer = small_trainer(tmp_path / "after")
    (tmp_path / "empty" / "checkpoints").mkdir(parents=True)
    with pytest.raises(UserError, match="holds no checkpoint"):
        carry(trainer.engine, str(tmp_path / "empty"))
    with pytest.raises(UserError, match=r"not a checkpoint of huohou"):
        carry(trainer.engine, str(tmp_path / "after"))
