"""Scripts that start something: the configuration that a command names, or the program that it starts.

``llamafactory-cli train x.yaml``, ``axolotl train x.yaml``, ``swift sft --config x.yaml``, ``python train.py --lr …``,
``bash run.sh …``: what is started is looked for as every named file is, read in its own language, and what the command
writes goes before it. What cannot be found is said.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from types import ModuleType

from huohou.audit.command_line import flags, is_flag
from huohou.audit.dialects import deepspeed
from huohou.audit.document import Document
from huohou.audit.reading import Given, Reading
from huohou.audit.shell import UNKNOWN, Command
from huohou.audit.values import Settings
from huohou.language import Text

name = "launch"
title = "launch script"

_VERBS: dict[str, tuple[str, ...]] = {
    "llamafactory-cli": ("train",),
    "lmf": ("train",),
    "axolotl": ("train",),
    "swift": ("sft", "pt", "rlhf"),
    "megatron": ("sft", "pt", "rlhf"),
    "xtuner": ("train",),
    "trl": ("sft", "dpo", "kto", "grpo", "reward", "rloo"),
    "litgpt": ("pretrain", "finetune", "finetune_full", "finetune_lora", "finetune_adapter", "finetune_adapter_v2"),
    "tune": ("run",),
    "paddleformers-cli": ("train",),
    "ludwig": ("train",),
}
"""Programs that train, and the words behind them that say so."""
_MODULES = ("axolotl.cli.train", "llamafactory.cli", "torchtitan.train", "verl.trainer.main_ppo")
_CONFIGS = re.compile(r"(?:.*_)?(?:config(?:_file|_path)?|cfg|cfg_path|cf|args_file|recipe)|job\.config_file")
_NOT_ITS = re.compile(r".*(?:deepspeed|accelerate|fsdp|model_config|quant|peft|lora_config|tokenizer|megatron_cfg).*")
_FILES = (".yaml", ".yml", ".json", ".toml", ".jsonc")
_READ = (*_FILES, ".py")
_RATE = re.compile(r"(?:.*[_.])?(?:lr|learning_rate|max_lr|peak_lr)(?:_offset)?")
_LENGTH = re.compile(r".*(?:warmup|epochs|steps|iters|batch_size|lr_sched|lr_decay).*")
_PLAIN = (
    "rm",
    "cp",
    "mv",
    "echo",
    "cat",
    "cd",
    "mkdir",
    "pip",
    "pip3",
    "git",
    "wget",
    "curl",
    "export",
    "tee",
    "ls",
    "set",
)
_DEEPEST = 3
_MOST_SCRIPTS = (16, 2)
"""Other scripts that one starts and that are followed, and those that each of these starts: some start each other."""


@dataclass(frozen=True, slots=True)
class _Job:
    """One command that starts a training: what it writes, what of it is for the program itself, and what it names."""

    settings: Settings
    own: Settings
    words: tuple[str, ...]
    named: str | None
    other: Document | None
    dialect: ModuleType | None
    why: str
    """``config``, ``program``, ``script``, or ``flags`` where nothing but its own words tell."""


def sees(document: Document) -> int:
    """A command that starts something that trains.

    A program that was found and makes its schedule itself goes before words that the Trainer has too.
    """
    jobs = _jobs(document, 0)
    own = any(job.why == "program" and job.dialect is not None and job.dialect.name == "torch" for job in jobs)
    return (66 if own else 10) if jobs else 0


def read(document: Document, given: Given) -> list[Reading]:
    """What each of the commands starts, and what it says itself where that cannot be read."""
    return _read_all(document, given, 0)


def _read_all(document: Document, given: Given, depth: int) -> list[Reading]:
    return [reading for job in _jobs(document, depth) for reading in _read(job, given, depth)]


def _jobs(document: Document, depth: int) -> list[_Job]:
    """What its commands start; a script that starts others is followed for a few steps."""
    script = document.script
    if script is None or depth > _DEEPEST:
        return []
    if "launched" not in document.kept:
        found: list[_Job] = []
        scripts = 0
        for command, settings in zip(script.commands, document.commands, strict=True):
            scripts += settings.name.endswith(".sh")
            if scripts > _MOST_SCRIPTS[min(depth, 1)] and settings.name.endswith(".sh"):
                continue
            job = _job(command, settings, document, depth)
            found += [job] if job is not None else []
        document.kept["launched"] = found
    return document.kept["launched"]


def _job(command: Command, settings: Settings, document: Document, depth: int) -> _Job | None:
    first = command.words[0].text.rsplit("/", 1)[-1]
    if first in _PLAIN:
        return None
    verb = _verb(command)
    own = _own(command, settings, document)
    words = tuple(word.text for word in command.words)

    def job(named: str, other: Document | None, dialect: ModuleType | None, why: str) -> _Job:
        return _Job(settings, own, words, named, other, dialect, why)

    for named in _configurations(command, settings):
        other = document.other(named)
        dialect = None if other is None or other.source.suffix not in _READ else _recognised(other, depth)
        if other is not None and dialect is not None:
            return job(named, other, dialect, "config")
        if other is None and verb:
            return job(named, None, None, "config")
    program = settings.name
    if program.endswith(".sh"):
        other = document.other(program)
        dialect = None if other is None else _recognised(other.over(own, _behind(words, program)), depth + 1)
        return None if dialect is None else job(program, other, dialect, "script")
    engine = settings.text("deepspeed_config")
    config = None if engine is None else document.other(engine)
    if (
        engine is not None
        and config is not None
        and config.settings is not None
        and "scheduler.type" in config.settings
    ):
        return job(engine, config, deepspeed, "engine")
    if program.endswith(".py"):
        other = document.other(program)
        dialect = None if other is None else _recognised(other, depth)
        if other is not None and dialect is not None:
            return job(program, other, dialect, "program")
    starts = program.endswith(".py") or any(word in ("-m", "--module") for word in words)
    rates = [key for key in settings if _RATE.fullmatch(key)]
    lengths = [key for key in settings if _LENGTH.fullmatch(key)]
    if (starts and ((rates and lengths) or engine is not None)) or verb:
        return job(program, config, None, "flags")
    return None


def _behind(words: tuple[str, ...], program: str) -> tuple[str, ...]:
    """The arguments of a script."""
    return words[words.index(program) + 1 :] if program in words else ()


def _own(command: Command, settings: Settings, document: Document) -> Settings:
    """What the command writes for the program itself, behind its name, and not for the launcher before it."""
    place = next((index for index, word in enumerate(command.words) if word.text == settings.name), 0)
    return flags(Command(command.words[place:]), document.source.name)


def _recognised(other: Document, depth: int) -> ModuleType | None:
    """The dialect of what is started; a script may start another one, but not for ever."""
    from huohou.audit.dialects.all import DIALECTS

    if other.source.suffix == ".sh":
        known = [each for each in DIALECTS if each.name != name]
        sure, dialect = max(((each.sees(other), each) for each in known), key=lambda pair: pair[0])
        if sure > 0:
            return dialect
        from huohou.audit.dialects import launched

        return launched if _jobs(other, depth + 1) else None
    known = [each for each in DIALECTS if each.name not in (name, "unnamed")]
    sure, dialect = max(((each.sees(other), each) for each in known), key=lambda pair: pair[0])
    return dialect if sure > 0 else None


def _verb(command: Command) -> bool:
    """Whether the command says by its own name that it trains."""
    words = [word.text.rsplit("/", 1)[-1] for word in command.words]
    for place, word in enumerate(words[:-1]):
        if words[place + 1] in _VERBS.get(word, ()):
            return True
    return any(word in _MODULES for word in words)


def _configurations(command: Command, settings: Settings) -> list[str]:
    """The configuration files that a command gives to what it starts, those of launchers and engines not."""
    found: list[str] = []
    before = ""
    started = False
    for word in (each.text for each in command.words):
        flag, sign, value = word.partition("=")
        key = flag.lstrip("-").replace("-", "_").lower()
        if is_flag(word):
            if sign and started and _CONFIGS.fullmatch(key) and not _NOT_ITS.fullmatch(key):
                found.append(value)
            before = key
            continue
        own = _CONFIGS.fullmatch(before) and not _NOT_ITS.fullmatch(before)
        given = word.lower().endswith(_FILES) and (not before or (started and own))
        named = started and own and before in ("config", "cfg")
        if started and (given or named or (word.endswith(".py") and not before)):
            found.append(word)
        started = (
            started or word.endswith(".py") or word == settings.name or word in ("train", "sft", "pt", "run", "rlhf")
        )
        before = ""
    return found


def _read(job: _Job, given: Given, depth: int) -> list[Reading]:
    line, what = job.settings.line, _shown(job.named)
    if job.other is not None and job.dialect is not None:
        started = job.other if job.why == "engine" else job.other.over(job.own, _behind(job.words, job.settings.name))
        readings: list[Reading]
        if job.dialect.name == name:
            readings = _read_all(started, given, depth + 1)
        else:
            readings = job.dialect.read(started, given)
        for reading in readings:
            reading.assume(
                f"line {line} starts {what}, read from {job.other.source.name}.",
                f"第 {line} 行启动 {what}，读自 {job.other.source.name}。",
            )
        return readings
    reading = Reading(name, title, job.settings)
    reading.facts |= {"family": "launch", "framework": name}
    if job.why == "config":
        reading.need(
            f"{what}, which line {line} names, was not found: audit that file, or start the audit in the folder from "
            "which the script is started.",
            f"未找到第 {line} 行引用的 {what}：请审计该文件，或在启动脚本的文件夹中运行审计。",
        )
        return [reading]
    said = [f"--{key} {job.settings.values[key].written}" for key in job.settings if _RATE.fullmatch(key)]
    rate = None if job.other is None or job.other.settings is None else job.other.settings.find("optimizer.params.lr")
    if rate is not None:
        said.append(f"{rate.file} optimizer.params.lr {rate.written}")
    listed = Text(f" ({', '.join(said)})" if said else "", f"（{'，'.join(said)}）" if said else "")
    reading.need(
        f"{what} in line {line} decides the schedule itself{listed.en}, and was not found or cannot be read without "
        "running it: audit it by itself, or name its framework by --as.",
        f"第 {line} 行的 {what} 自行决定调度{listed.zh}；未找到该程序，或不运行就无法读出："
        "请单独审计它，或用 --as 指明框架。",
    )
    return [reading]


def _shown(named: str | None) -> str:
    """A name as people can look for it."""
    return (named or "?").replace(UNKNOWN, "…")
