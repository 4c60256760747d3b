"""What was probably meant by a key that does not exist."""

from __future__ import annotations

from collections.abc import Iterator

from huohou.config.aliases import ALIASES, NOT_HERE
from huohou.config.data import Embedded
from huohou.config.diagnose import UNUSUAL
from huohou.config.section import keys_of
from huohou.config.sections import SECTIONS, TOP, section_at
from huohou.language import Text


def hint(key: str, section: str | None) -> Text:
    """What was probably meant by a key that does not exist."""
    import difflib

    for character in key:
        if character in UNUSUAL:
            return UNUSUAL[character]
    if key in NOT_HERE:
        return NOT_HERE[key]
    plain = key.replace("-", "_").lower()
    if section is not None and plain in SECTIONS:
        return Text(f"{plain} is a section of its own, at the top of the file", f"{plain} 是单独的一节，写在文件顶层")
    homes = [f"{name}.{plain}" for name, model in SECTIONS.items() if plain in keys_of(model)]
    if plain in keys_of(Embedded) and plain not in TOP:
        homes.append(f"data.embedded.{plain}")
    if plain in TOP or (section is None and plain in SECTIONS):
        homes.insert(0, plain)
    if plain in ALIASES:
        homes.insert(0, ".".join(str(one) for one in ALIASES[plain].path if isinstance(one, str)))
    if homes:
        return _belongs(homes[0], section)
    near = difflib.get_close_matches(plain, list(_local(section)), n=1)
    if near:
        return Text(f"did you mean {near[0]}?", f"是不是 {near[0]}？")
    everywhere = {name: f"{home}.{name}" for home, model in SECTIONS.items() for name in keys_of(model)}
    far = difflib.get_close_matches(plain, list(everywhere), n=1, cutoff=0.8)
    if far:
        return Text(f"did you mean {everywhere[far[0]]}?", f"是不是 {everywhere[far[0]]}？")
    keys = [*TOP, *SECTIONS] if section is None else list(_local(section, aliases=False))
    return Text(f"the keys here are {', '.join(keys)}", f"这里可用的键有 {'、'.join(keys)}")


def _belongs(home: str, section: str | None) -> Text:
    place, _, name = home.rpartition(".")
    if not place:
        if section is None:
            return Text(f"did you mean {name}?", f"是不是 {name}？")
        return Text(
            f"{name} stands at the top of the file, not in {section}", f"{name} 应写在文件顶层，不在 {section} 里"
        )
    if place == section:
        return Text(f"did you mean {name}?", f"是不是 {name}？")
    return Text(f"{name} belongs in the section {place}", f"{name} 属于 {place} 一节")


def _local(section: str | None, *, aliases: bool = True) -> Iterator[str]:
    if section is None:
        yield from (*TOP, *SECTIONS)
    else:
        yield from keys_of(section_at(tuple(section.split("."))) or Embedded)
    if aliases:
        yield from (name for name, alias in ALIASES.items() if section in (None, alias.path[0]))
