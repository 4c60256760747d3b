"""``huohou init``: a commented run file to start from."""

from __future__ import annotations

import argparse
from pathlib import Path

from huohou.errors import UserError
from huohou.language import Text, language

HELP = Text("write a commented run file to start from", "写出一个带注释的训练配置")


def arguments(parser: argparse.ArgumentParser) -> None:
    """The arguments of this verb."""
    add = parser.add_argument
    add(
        "file",
        nargs="?",
        default="run.yaml",
        metavar="FILE",
        help=str(Text("where to write it (default: run.yaml)", "写到哪里（默认：run.yaml）")),
    )
    add(
        "--preset",
        default="4m",
        metavar="NAME",
        help=str(Text("size of the model (default: 4m)", "模型大小（默认：4m）")),
    )
    add(
        "--data",
        metavar="PATH",
        help=str(
            Text(
                "file, folder or glob to train on (default: the generated corpus)",
                "训练用的文件、文件夹或通配符（默认：自带的生成语料）",
            )
        ),
    )
    add("--demo", action="store_true", help=str(Text("the demonstration's run file", "演示所用的训练配置")))
    add("--force", action="store_true", help=str(Text("overwrite the file", "覆盖已有的文件")))
    add("--list", action="store_true", help=str(Text("list the presets and write nothing", "列出预设，不写文件")))


def run(options: argparse.Namespace) -> int:
    """Write the file, and say what to do next."""
    if options.list:
        return _list()
    from huohou.config.template import example, template
    from huohou.config.values import run_name

    path = Path(options.file)
    text = (
        template("demo.yaml")
        if options.demo
        else example(language(), name=run_name(path.stem), model=options.preset, data=options.data)
    )
    if not path.parent.is_dir():
        raise UserError(
            f"there is no folder {path.parent} to write {path.name} into.",
            f"没有文件夹 {path.parent}，无法写入 {path.name}。",
        )
    if path.is_dir():
        raise UserError(
            f"{path} is a folder; name a file, such as run.yaml.", f"{path} 是文件夹；请给出文件名，例如 run.yaml。"
        )
    try:
        with open(path, "w" if options.force else "x", encoding="utf-8", newline="\n") as file:
            file.write(text)
    except FileExistsError:
        raise UserError(
            f"{path} exists already; --force overwrites it, or name another file.",
            f"{path} 已存在；可加 --force 覆盖，或换一个文件名。",
        ) from None
    except OSError as error:
        raise UserError(
            f"{path} cannot be written: {error.strerror}.", f"无法写入 {path}：{error.strerror}。"
        ) from None
    print(Text(f"wrote {path}; next: huohou plan {path}", f"已写出 {path}；下一步：huohou plan {path}"))
    return 0


def _list() -> int:
    from huohou.config.presets import PRESETS
    from huohou.config.shapes import count_parameters

    print(Text("preset     parameters  vocabulary  layers  width", "预设          参数量        词表    层数   宽度"))
    for one in PRESETS.values():
        total = count_parameters(one.dims, one.vocab_size).total
        layers, width = one.dims["num_hidden_layers"], one.dims["hidden_size"]
        print(f"{one.name:<7} {total:>13,}  {one.vocab_size:>10}  {layers:>6}  {width:>5}")
    return 0
