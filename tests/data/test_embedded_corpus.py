"""The embedded corpus: the same everywhere, true to itself, divided cleanly, and rich enough to learn from."""

from __future__ import annotations

import hashlib
import itertools
import re
from collections import defaultdict

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from huohou.data.embedded import completions, corpus, documents
from huohou.data.embedded.draw import Draw, split_of
from huohou.data.embedded.world import world
from huohou.errors import UserError


def test_the_documents_of_a_seed_never_change() -> None:
    """Golden: a difference here is a new corpus, which makes every number measured on the old one incomparable."""
    digest = hashlib.sha256("\0".join(documents(1, documents=200)).encode()).hexdigest()
    assert digest == "a1b587c04dbc76758f129d28c41085aad5e8cb27b504f118dc713fdd1b0905d2"


@given(seed=st.integers(0, 2**70), few=st.integers(0, 12), more=st.integers(0, 12))
@settings(max_examples=20, deadline=None)
def test_a_document_does_not_depend_on_how_many_are_asked_for(seed: int, few: int, more: int) -> None:
    assert list(documents(seed, documents=few)) == list(documents(seed, documents=few + more))[:few]
    assert list(documents(seed, documents=few)) == list(itertools.islice(documents(seed), few))


@given(characters=st.integers(0, 6000), seed=st.integers(0, 3))
@settings(max_examples=40, deadline=None)
def test_the_bound_is_reached_and_overshot_by_less_than_one_document(characters: int, seed: int) -> None:
    texts = list(documents(seed, characters=characters))
    written = sum(map(len, texts))
    assert written >= characters
    assert not texts or written - len(texts[-1]) < characters


def test_whichever_bound_comes_first_ends_the_stream() -> None:
    assert len(list(documents(1, characters=10**9, documents=3))) == 3
    assert len(list(documents(1, characters=1, documents=3))) == 1


def test_seeds_and_splits_differ() -> None:
    streams = [list(documents(seed, documents=50, split=split)) for seed in (1, 2) for split in ("train", "validation")]
    for one, other in itertools.combinations(streams, 2):
        assert len(set(one) & set(other)) <= 1


@pytest.mark.parametrize("split", ["train", "validation"])
def test_documents_are_clean_text(split: str) -> None:
    for text in documents(3, documents=1500, split=split):  # pyright: ignore[reportArgumentType]
        assert text == text.strip() and "\n\n" not in text and len(text) >= 5
        assert not re.search(r"[{}\[\]|@*]|[。，]{2}|[？！][。，]|：。", text), text


@pytest.mark.parametrize("seed", [1, 2])
def test_what_is_said_about_somebody_is_said_the_same_everywhere(seed: int) -> None:
    """Facts are read back from the text of both splits by patterns that know nothing of the generator."""
    texts = [*documents(seed, documents=5000), *documents(seed, documents=800, split="validation")]
    text = "\n".join(texts)
    patterns = {
        "home": r"(?:^|[。“\n])(\w{2,3})(?:住在|家住|的家在)(\w{1,3}[镇村湾])",
        "age": r"(?:^|[。“\n])(\w{2,3})(?:今年|刚满|已经)(\w{1,4})岁",
        "job": r"(?:^|[。“\n])(\w{2,3})是一名(\w+)。",
        "food": r"(?:^|[。“\n])(\w{2,3})最喜欢吃(\w+)。",
        "friend": r"(?:^|[。“\n])(\w{2,3})最好的朋友是(\w{2,3})。",
        "colour": r"(?:^|[。“\n])(\w{2,3}的\w{2,3})是(\w色)的。",
        "river": r"(?:^|[。“\n])(\w{1,3}[镇村湾])[旁边外]?[边面]有一条河，叫(\w+)。",
    }
    for name, pattern in patterns.items():
        found: dict[str, set[str]] = defaultdict(set)
        mentions = 0
        for subject, value in re.findall(pattern, text):
            if subject in {"他", "她"}:
                continue
            found[subject].add(value)
            mentions += 1
        assert mentions >= 1.5 * len(found) > 0, name
        assert all(len(values) == 1 for values in found.values()), (name, found)


def test_friends_name_each_other_and_questions_agree_with_statements() -> None:
    text = "\n".join(documents(1, documents=5000))
    friends = dict(re.findall(r"问：(\w{2,3})最好的朋友是谁？\n答：(\w{2,3})。", text))
    assert len(friends) > 20
    assert all(friends.get(other, one) == one for one, other in friends.items())
    said = dict(re.findall(r"(?:^|。|\n)(\w{2,3})最好的朋友是(\w{2,3})。", text))
    assert said.keys() & friends.keys()
    assert all(friends[name] == said[name] for name in said.keys() & friends.keys())


def test_a_pronoun_never_follows_a_sentence_about_somebody_else() -> None:
    text = "\n".join(documents(1, documents=3000))
    about_another = re.compile(r"(?:是\w{2,3}的[爸妈]{2}|是\w{2,3}养的\w+|是最好的朋友)。(\w)")
    following = about_another.findall(text)
    assert len(following) > 8
    assert not {"他", "她"} & set(following)


def test_a_world_is_sound_for_many_seeds() -> None:
    numbers = {word: number for number, word in enumerate(_spoken_numbers())}
    for seed in range(60):
        of = world(seed)
        names = [subject.name for subject in of.subjects]
        assert len(set(names)) == len(names) == 34
        pets = [person.facts["petname"] for person in of.groups["pet"]]
        assert len(set(pets)) == len(pets) == 16
        for person in of.people:
            assert person.facts["home"] in {town.name for town in of.towns}
            friend = of.friend(person)
            assert friend is not person and of.friend(friend) is person and friend.kind == person.kind
            if person.kind == "child":
                for parent in (of.by_name[person.facts["father"]], of.by_name[person.facts["mother"]]):
                    assert parent.facts["home"] == person.facts["home"]
                    assert numbers[parent.facts["age"]] - numbers[person.facts["age"]] >= 20


def _spoken_numbers() -> list[str]:
    ones = ["", *"一二三四五六七八九"]
    return ["零", *ones[1:], *("十" + one for one in ones), *(ten + "十" + one for ten in ones[2:] for one in ones)]


def test_the_splits_share_nothing() -> None:
    train, validation = (set(documents(1, documents=4000)), set(documents(1, documents=1500, split="validation")))
    assert not train & validation

    def problems(texts: set[str]) -> set[object]:
        """Sums as unordered pairs, in digits or in words, and differences as ordered ones."""
        text = "\n".join(texts)
        sums = re.findall(r"(\d+)(?:\+|加)(\d+)", text) + re.findall(
            r"([一二三四五六七八九十]+)加上?([一二三四五六七八九十]+)[等是]", text
        )
        takes = re.findall(r"(\d+)(?:-|减)(\d+)", text) + re.findall(
            r"([一二三四五六七八九十]+)减去?([一二三四五六七八九十]+)[等是]", text
        )
        words = {word: str(number) for number, word in enumerate(_spoken_numbers())}
        as_digits = [[words.get(number, number) for number in pair] for pair in sums]
        found: set[object] = {("+", frozenset(pair)) for pair in as_digits}
        return found | {("-", (words.get(a, a), words.get(b, b))) for a, b in takes}

    learned, kept = problems(train), problems(validation)
    assert len(learned) > 400 and len(kept) > 80
    assert not learned & kept

    passages = [{text.partition("\n")[0] for text in texts if "\n问：" in text} for texts in (train, validation)]
    passages = [{line for line in lines if not line.startswith("问：")} for lines in passages]
    assert len(passages[1]) > 100
    assert not passages[0] & passages[1]


def test_the_text_of_a_story_decides_its_split() -> None:
    """This, and not luck, is why no length of the two streams makes them meet."""
    for split in ("train", "validation"):
        stories = [text for text in documents(1, documents=800, split=split) if "“" in text and "问：" not in text]
        assert len(stories) > 50
        assert all(split_of(text) == split for text in stories)


def test_about_one_text_in_eight_is_kept_for_validation() -> None:
    kept = sum(split_of(f"text {number}") == "validation" for number in range(4000))
    assert 400 < kept < 600


def test_the_corpus_is_rich() -> None:
    text = "".join(documents(1, characters=300_000))
    characters = [character for character in text if "一" <= character <= "鿿"]
    assert len(set(characters)) > 1500
    assert re.search(r"[A-Za-z]{4}", text) and re.search(r"\d\+\d", text)
    sentences = [sentence for sentence in re.split(r"[。？！\n]", text) if len(sentence) > 8]
    assert len(set(sentences)) > 0.65 * len(sentences)


def test_completions_begin_validation_stories_and_stop_inside_a_sentence(monkeypatch: pytest.MonkeyPatch) -> None:
    stories: list[str] = []
    monkeypatch.setattr(corpus, "split_of", lambda text: stories.append(text) or split_of(text))
    starts = completions(1, 30)
    assert len(set(starts)) == 30 and starts == completions(1, 40)[:30]
    kept = [story for story in stories if split_of(story) == "validation"]
    for start in starts:
        assert 8 < len(start) < 120 and "\n" not in start
        assert any(story.startswith(start) and len(story) > len(start) for story in kept)


def test_mistakes_are_refused_before_the_first_document() -> None:
    with pytest.raises(UserError, match="seed of 0 or more, not -1"):
        documents(-1)
    with pytest.raises(ValueError, match="train and validation, not 'test'"):
        documents(1, split="test")  # pyright: ignore[reportArgumentType]


def test_a_sample_repeats_nothing_and_leaves_nothing_out() -> None:
    draw = Draw(1)
    assert sorted(draw.sample(range(9), 99)) == list(range(9))
    assert len(set(draw.sample(range(99), 20))) == 20
    assert {draw.between(2, 4) for _ in range(200)} == {2, 3, 4}
    assert {draw.below(3) for _ in range(200)} == {0, 1, 2}
    assert Draw(1, 2).random() != Draw(2, 1).random()
