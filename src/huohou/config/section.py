"""What every section of the run file is: a frozen model whose keys say what they mean in two languages."""

from __future__ import annotations

from typing import Any, ClassVar

from pydantic import BaseModel, ConfigDict, Field

from huohou.config.kinds import Kind
from huohou.language import Text

ABSENT = Text("not given", "未给出")


def key(default: Any, en: str, zh: str, *, said: Text | None = None) -> Any:
    """A field with its meaning; ``said`` is its default in words, where the value alone would not tell."""
    extra: Any = {"zh": zh, "said": said.plain() if said else None}
    return Field(default=default, description=en, json_schema_extra=extra)


class Section(BaseModel):
    """What all sections share."""

    model_config = ConfigDict(extra="forbid", frozen=True, arbitrary_types_allowed=True)
    title: ClassVar[Text]


def kind_of(section: type[BaseModel], name: str) -> Kind | None:
    """The kind of a key's value; ``None`` where the key is a section of its own."""
    return next((one for one in section.model_fields[name].metadata if isinstance(one, Kind)), None)
