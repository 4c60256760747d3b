"""The dialogues that a run file of the stage ``sft`` names, and how they become sequences."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from huohou.config import RunConfig

if TYPE_CHECKING:
    from huohou.data.dialogue_cache import DialogueSettings
    from huohou.data.dialogues import Dialogues


def dialogues_of(run: RunConfig, files: Sequence[str], cache: Path, *, datasets: bool) -> Dialogues:
    """The dialogues of files; ``datasets``: and of the datasets that the run file names."""
    from huohou.data.dialogues import dialogues_of_files

    data = run.data
    dialogues = dialogues_of_files(
        list(files),
        format=data.format,
        dataset_info=data.dataset_info if datasets and data.dataset else None,
        dataset=data.dataset if datasets else None,
        encoding=data.encoding,
        on_bad=data.on_bad,
    )
    if data.on_bad == "skip":
        dialogues.rejects = cache / f"rejects-{dialogues.quick_key()}.jsonl"
    return dialogues


def dialogue_settings(run: RunConfig) -> DialogueSettings:
    """How the run file asks dialogues to become sequences."""
    from huohou.data.dialogue_cache import DialogueSettings

    data = run.data
    return DialogueSettings(
        sequence_length=data.sequence_length,
        template=data.template,
        system=data.system,
        learn=data.learn,
        too_long=data.too_long,
        nothing_to_learn=data.nothing_to_learn,
        packing=data.packing,
    )
