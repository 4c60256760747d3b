"""What can go wrong, told apart by who can mend it: a person (exit status 2) or nobody right now (1)."""

from __future__ import annotations

from huohou.language import Text


class UserError(Exception):
    """A person's mistake: one clear sentence that says what, where, which value and what would be right."""

    def __init__(self, en: str, zh: str) -> None:
        self.text = Text(en, zh)
        super().__init__(en)

    def __str__(self) -> str:
        return str(self.text)


class RunFailed(Exception):
    """A run that began and could not be finished; the sentence says what is safe and how to go on."""

    def __init__(self, en: str, zh: str) -> None:
        self.text = Text(en, zh)
        super().__init__(en)

    def __str__(self) -> str:
        return str(self.text)


def missing_extra(package: str, extra: str) -> UserError:
    """The error for an optional package that is not installed."""
    command = f"pip install 'huohou[{extra}]'"
    return UserError(
        f"this needs the package {package}, which is not installed: {command}.",
        f"这里需要 {package} 包，但没有安装：{command}。",
    )
