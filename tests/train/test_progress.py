from __future__ import annotations

import io

import pytest

from huohou.language import Text, choose_language
from huohou.schedule.recipes import Phase
from huohou.train.progress import Progress, Shown, duration, one_line, short

PHASES = (Phase("one", Text("rising", "上升"), 1, 200), Phase("two", Text("falling", "下降"), 201, 4000))


class Clock:
    def __init__(self) -> None:
        self.now = 1000.0

    def __call__(self) -> float:
        return self.now


class Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


def shown(update: int) -> Shown:
    return Shown(update, 3.2141, {"all": 1.2e-4}, 0.8, 12_300, 1.0)


@pytest.fixture
def clock() -> Clock:
    return Clock()


def test_a_line_says_everything(clock: Clock) -> None:
    stream = io.StringIO()
    progress = Progress(every=1, stream=stream, clock=clock)
    progress.begin(119, 4000, PHASES)
    clock.now += 1.0
    progress.show(shown(120))
    expected = (
        "update 120/4000 · loss 3.214 · rate 1.20e-04 · rising 60% · gradient 0.80 · 12.3k tokens/s · left 01:04:40\n"
    )
    assert stream.getvalue() == expected
    choose_language("zh")
    assert progress.line(shown(2100)).startswith(
        "更新步 2100/4000 · 损失 3.214 · 学习率 1.20e-04 · 下降 50% · 梯度 0.80"
    )


def test_the_time_left_counts_this_runs_updates_only(clock: Clock) -> None:
    progress = Progress(clock=clock, stream=io.StringIO())
    progress.begin(3000, 4000, PHASES)
    clock.now += 50
    assert progress.line(shown(3100)).endswith("left 00:07:30")


def test_plain_lines_come_calmly(clock: Clock) -> None:
    stream = io.StringIO()
    progress = Progress(stream=stream, clock=clock)
    progress.begin(0, 4000, PHASES)
    for update in range(1, 201):
        clock.now += 0.1 if update <= 120 else 0.01
        progress.show(shown(update))
    assert [line.split()[1] for line in stream.getvalue().splitlines()] == [
        f"{update}/4000" for update in (1, 40, 80, 120)
    ]
    clock.now += 70
    progress.show(shown(201))
    assert "201/4000" in stream.getvalue()


def test_quiet_leaves_the_sentences(clock: Clock) -> None:
    stream = io.StringIO()
    progress = Progress(quiet=True, stream=stream, clock=clock)
    progress.begin(0, 4000, PHASES)
    progress.show(shown(1))
    progress.say(Text("done", "完成"))
    assert stream.getvalue() == "done\n"


def test_a_terminal_has_a_bar(clock: Clock, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TERM", "xterm-256color")
    monkeypatch.setenv("COLUMNS", "200")
    monkeypatch.delenv("NO_COLOR", raising=False)
    stream = Terminal()
    progress = Progress(stream=stream, clock=clock)
    progress.begin(0, 4000, PHASES)
    clock.now += 1
    progress.show(shown(100))
    progress.say(Text("[red]a sentence[/red]", ""))
    progress.end()
    assert "rising 50%" in stream.getvalue()
    assert "[red]a sentence[/red]" in stream.getvalue()
    assert "\x1b[38" in stream.getvalue() or "\x1b[3" in stream.getvalue()


def test_colour_is_left_out_where_it_is_not_wanted(clock: Clock, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TERM", "xterm-256color")
    monkeypatch.setenv("NO_COLOR", "1")
    stream = Terminal()
    progress = Progress(stream=stream, clock=clock)
    progress.begin(0, 4000, PHASES)
    progress.show(shown(100))
    progress.end()
    assert "\x1b[38;" not in stream.getvalue()


def test_a_stream_that_cannot_show_a_character_is_no_reason_to_stop(clock: Clock) -> None:
    raw = io.BytesIO()
    stream = io.TextIOWrapper(raw, encoding="ascii", newline="")
    Progress(stream=stream, clock=clock).say(Text("a · b", ""))
    assert raw.getvalue().strip() == b"a ? b"


@pytest.mark.parametrize(
    ("seconds", "text"), [(0, "00:00:00"), (4350, "01:12:30"), (-5, "00:00:00"), (4e5, "111:06:40")]
)
def test_durations(seconds: float, text: str) -> None:
    assert duration(seconds) == text


def test_a_lost_terminal_does_not_end_the_run(clock: Clock) -> None:
    class Gone(io.StringIO):
        def write(self, text: str) -> int:
            raise BrokenPipeError

    progress = Progress(stream=Gone(), clock=clock)
    progress.begin(0, 4000)
    progress.show(shown(1))
    progress.say(Text("nobody hears this", ""))


def test_text_of_unknown_origin_commands_no_terminal() -> None:
    assert one_line("春\n\x1b[31m夏\u202e\t。") == "春⏎·[31m夏··。"


@pytest.mark.parametrize(("number", "text"), [(950, "950"), (12_345, "12.3k"), (1_200_000, "1.2M"), (3e9, "3.0B")])
def test_numbers_as_people_say_them(number: float, text: str) -> None:
    assert short(number) == text
