# type: ignore  # It runs in another environment, whose packages are not here.
"""Run in an environment with some version of transformers: the rates of its schedulers and of real Trainer runs."""

import json
import sys
import warnings

import torch

warnings.simplefilter("ignore")
# Borrowed ones may be too new for an old transformers, which does without them.
sys.modules["datasets"] = sys.modules["peft"] = None


def schedule(kind, peak, warmup, horizon, updates, kwargs):
    from transformers.optimization import get_scheduler

    optimizer = torch.optim.SGD([torch.nn.Parameter(torch.zeros(1))], lr=peak)
    try:
        scheduler = get_scheduler(kind, optimizer, warmup, horizon, scheduler_specific_kwargs=dict(kwargs))
    except (ValueError, TypeError) as error:
        return repr(error)
    rates = []
    for _ in range(updates):
        rates.append(optimizer.param_groups[0]["lr"])
        optimizer.step()
        try:
            scheduler.step()
        except ZeroDivisionError:
            break
    return rates


class Model(torch.nn.Module):
    def __init__(self):
        super().__init__()
        self.weight = torch.nn.Parameter(torch.zeros(1))

    def forward(self, x):
        return {"loss": (self.weight * x).sum() + (self.weight**2).sum()}


def trained(arguments, samples, folder):
    """(T, W that the scheduler was given, the rates used) of a run of the real Trainer."""
    from transformers import Trainer, TrainerCallback, TrainingArguments

    rates = []

    class Watch(TrainerCallback):
        def on_pre_optimizer_step(self, args, state, control, optimizer=None, **kwargs):
            rates.append(float(optimizer.param_groups[0]["lr"]))

    try:
        given = TrainingArguments(
            folder,
            report_to=[],
            save_strategy="no",
            logging_strategy="no",
            disable_tqdm=True,
            use_cpu=True,
            **arguments,
        )
    except (TypeError, ValueError) as error:
        return type(error).__name__
    data = [{"x": torch.ones(1)} for _ in range(samples)]
    trainer = Trainer(Model(), given, train_dataset=data, callbacks=[Watch()])
    trainer.train()
    return [trainer.state.max_steps, given.get_warmup_steps(trainer.state.max_steps), rates]


def main():
    asked = json.load(sys.stdin)
    out = sys.stdout
    sys.stdout = sys.stderr
    import transformers

    transformers.logging.set_verbosity_error()
    found = {
        "version": transformers.__version__,
        "schedules": [schedule(*cell) for cell in asked["schedules"]],
        "runs": [trained(*cell, asked["folder"]) for cell in asked["runs"]],
    }
    json.dump(found, out)


main()
