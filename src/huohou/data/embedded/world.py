"""The people and places of one seed, and how their facts are said and asked.

Everything that any document of a seed says about a person or a town comes from here, which is why documents agree.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import cache, cached_property, lru_cache
from typing import Literal, get_args

from huohou.data.embedded.draw import Draw
from huohou.data.embedded.numerals import spoken
from huohou.data.embedded.templates import Scene, Section, Template, parse, sections

Kind = Literal["child", "adult", "elder", "town"]
Role = Literal["A", "B", "C"]
ROLES: tuple[Role, ...] = get_args(Role)
_TOWNS = 6
_CHILDREN_OF_FAMILIES = (2, 2, 2, 2, 2)
_SINGLES = 4
_ELDERS = 4
_OWNERS = 16


@dataclass(frozen=True)
class Subject:
    """A person or a town: its name, and by name what is true of it (``home``, ``job``, ``petname``, …)."""

    name: str
    kind: Kind
    facts: dict[str, str]

    @cached_property
    def relations(self) -> tuple[Relation, ...]:
        """What can be said and asked about this subject."""
        return tuple(r for r in relations() if self.kind in r.of or ("pet" in r.of and "pet" in self.facts))

    @cached_property
    def _parts(self) -> dict[str, dict[str, str]]:
        return {
            role: {role: self.name} | {f"{role}.{fact}": value for fact, value in self.facts.items()} for role in ROLES
        }

    def play(self, scene: Scene, role: Role = "A") -> None:
        """Take a part in a scene, so that ``{A}`` is the name and ``{A.home}`` the home of this subject."""
        scene.update(self._parts[role])


@dataclass(frozen=True, slots=True)
class Relation:
    """One kind of fact: whom it is true of, full sentences, those and sentences after which a pronoun would be wrong,
    sentences that follow a name, and questions."""

    name: str
    of: tuple[str, ...]
    statements: tuple[Template, ...]
    alone: tuple[Template, ...]
    following: tuple[Template, ...]
    questions: tuple[tuple[Template, Template], ...]


@cache
def relations() -> tuple[Relation, ...]:
    """All kinds of facts, from ``texts/relations.txt``."""
    found: list[Relation] = []
    for section in sections("relations.txt"):
        statements, following = marked(section, "s"), marked(section, "p")
        alone = statements + marked(section, "o")
        found.append(Relation(section.name, section.words, statements, alone, following, asked(section)))
    return tuple(found)


def marked(section: Section, mark: str) -> tuple[Template, ...]:
    """The templates of the lines with this mark."""
    return tuple(parse(line) for found, line in section.lines if found == mark)


def asked(section: Section, asking: str = "q") -> tuple[tuple[Template, Template], ...]:
    """The questions of a section, each with the template of its answer."""
    pairs = (line.split(" -> ") for mark, line in section.lines if mark == asking)
    return tuple((parse(question), parse(answer)) for question, answer in pairs)


@dataclass(frozen=True)
class World:
    """Five families, four single people and four old people in six towns: few enough to be known well."""

    people: tuple[Subject, ...]
    towns: tuple[Subject, ...]

    @cached_property
    def subjects(self) -> tuple[Subject, ...]:
        """People and towns."""
        return self.people + self.towns

    @cached_property
    def by_name(self) -> dict[str, Subject]:
        """Every subject by its name, which is unique."""
        return {subject.name: subject for subject in self.subjects}

    @cached_property
    def groups(self) -> dict[str, tuple[Subject, ...]]:
        """Whom a story may ask for: child, adult, elder, any, pet (any person with a pet), or a town."""
        groups = {kind: tuple(p for p in self.people if p.kind == kind) for kind in ("child", "adult", "elder")}
        owners = tuple(person for person in self.people if "pet" in person.facts)
        return groups | {"any": self.people, "pet": owners, "town": self.towns}

    def friend(self, person: Subject) -> Subject:
        """The best friend; friendship is mutual."""
        return self.by_name[person.facts["friend"]]

    def other(self, draw: Draw, group: str, *known: Subject) -> Subject:
        """Somebody of a group who is none of these."""
        while any((person := draw.pick(self.groups[group])) is one for one in known):
            pass
        return person


@lru_cache(maxsize=8)
def world(seed: int) -> World:
    """The world of a seed."""
    return _Maker(seed).make()


@cache
def _pool(name: str) -> tuple[tuple[str, ...], ...]:
    section = next(section for section in sections("world.txt") if section.name == name)
    return tuple(tuple(word.split("/")) for _, line in section.lines for word in line.split())


class _Maker:
    """Draws a world; the order of the draws is part of every golden value."""

    def __init__(self, seed: int) -> None:
        self.draw = Draw(seed, 0, 0)

    def supply(self, pool: str, count: int) -> Callable[[], tuple[str, ...]]:
        """A supply of rows of a pool that repeats none of them."""
        return iter(self.draw.sample(_pool(pool), count)).__next__

    def make(self) -> World:
        draw = self.draw
        self.towns = self._towns()
        surname = self.supply("surname", 2 * len(_CHILDREN_OF_FAMILIES) + _SINGLES + _ELDERS)
        man, woman = self.supply("man", 99), self.supply("woman", 99)
        boy, girl = self.supply("boy", 99), self.supply("girl", 99)
        self.job = self.supply("job", 99)
        people: list[Subject] = []
        for home, size in zip(self.towns, _CHILDREN_OF_FAMILIES, strict=False):
            father, mother = surname()[0] + man()[0], surname()[0] + woman()[0]
            people.append(self._person(father, "adult", "他", home, draw.between(36, 47)))
            people.append(self._person(mother, "adult", "她", home, draw.between(35, 45)))
            for _ in range(size):
                is_girl = draw.below(2)
                child = self._person((girl if is_girl else boy)()[0], "child", "她" if is_girl else "他", home)
                child.facts.update(father=father, mother=mother)
                people.append(child)
        for place in range(_SINGLES):
            name = surname()[0] + (woman if place % 2 else man)()[0]
            home = draw.pick(self.towns)
            people.append(self._person(name, "adult", "她" if place % 2 else "他", home, draw.between(22, 30)))
        for place in range(_ELDERS):
            name = surname()[0] + ("奶奶" if place % 2 else "爷爷")
            home = draw.pick(self.towns)
            people.append(self._person(name, "elder", "她" if place % 2 else "他", home, draw.between(61, 82)))
        self._befriend(people)
        self._give_pets(people)
        return World(tuple(people), self.towns)

    def _towns(self) -> tuple[Subject, ...]:
        name, river, hill = (self.supply(pool, _TOWNS) for pool in ("town", "river", "hill"))
        product, landmark, shop = (self.supply(pool, _TOWNS) for pool in ("product", "landmark", "shop"))
        towns: list[Subject] = []
        for _ in range(_TOWNS):
            mark, measure = landmark()
            facts = {"river": river()[0], "hill": hill()[0], "product": product()[0], "shop": shop()[0]}
            towns.append(Subject(name()[0], "town", facts | {"mark": mark, "markm": measure}))
        return tuple(towns)

    def _person(self, name: str, kind: Kind, pronoun: str, home: Subject, age: int = 0) -> Subject:
        draw = self.draw
        thing, thing_measure = draw.pick(_pool("childthing" if kind == "child" else "thing"))
        facts = {
            "ta": pronoun,
            "home": home.name,
            **home.facts,
            "age": spoken(age or draw.between(6, 12)),
            "month": spoken(draw.between(1, 12)) + "月",
            "food": draw.pick(_pool("food"))[0],
            "hobby": draw.pick(_pool("oldhobby" if kind == "elder" else "hobby"))[0],
            "thing": thing,
            "thingm": thing_measure,
            "colour": draw.pick(_pool("colour"))[0],
            "way": draw.pick(_pool("way"))[0],
        }
        if kind == "adult":
            facts["job"], facts["work"], facts["does"] = self.job()
        elif kind == "child":
            facts["work"], facts["dream"] = "学校", draw.pick(_pool("dream"))[0]
        return Subject(name, kind, facts)

    def _befriend(self, people: list[Subject]) -> None:
        for kind in ("child", "adult", "elder"):
            order = self.draw.sample([person for person in people if person.kind == kind], len(people))
            for one, other in zip(order[::2], order[1::2], strict=True):
                one.facts["friend"], other.facts["friend"] = other.name, one.name

    def _give_pets(self, people: list[Subject]) -> None:
        petname = self.supply("petname", _OWNERS)
        for person in self.draw.sample(people, _OWNERS):
            animal, measure = self.draw.pick(_pool("animal"))
            person.facts.update(pet=animal, petm=measure, coat=self.draw.pick(_pool("coat"))[0], petname=petname()[0])
