"""
Tell the cause from its symptoms: one fault shows several issues, and only one of them is worth treating.

A kind of target brings rules: findings with these codes lead to findings with
those, because. A rule links two issues that are there at once, unless what was
read speaks against it. Each issue follows from one other at most, the one that
most speaks for; the others are named as possible too. What follows from nothing
is a root.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass

from medic8.analysis.analyzer import WEIGHT
from medic8.model.issue import CauseLink, Issue
from medic8.model.report import DiagnosticResult

Results = Mapping[str, DiagnosticResult]


@dataclass(frozen=True)
class Clue:
    """
    Something that speaks for a link if it is so, and against it if it is not.

    Attributes:
        if_so: What it says then, one sentence.
        if_not: What it says otherwise.
        look: Whether it is so, by what was read; None if that was not seen.
    """

    if_so: str
    if_not: str
    look: Callable[[Results], bool | None]


@dataclass(frozen=True)
class CauseRule:
    """
    Findings that lead to other findings.

    Attributes:
        causes: Codes of the findings that lead to the others.
        effects: Codes of those.
        why: How the one leads to the other, one sentence.
        clues: What speaks for or against it on a target where both are there.
        concerns: Of a cause beneath (`medic8.analysis.beneath`): whether it is about what the target uses, by
            the readings above, those beneath, and what the cause is about; the rule is none where it is not.
        of_one: Whether cause and effect are about one thing, by what was read and what each is about; None if
            that is not seen. It speaks for the link if they are, and there is none if they are not.
    """

    causes: frozenset[str]
    effects: frozenset[str]
    why: str
    clues: tuple[Clue, ...] = ()
    concerns: Callable[[Results, Results, str], bool] | None = None
    of_one: Callable[[Results, str, str], bool | None] | None = None


def link_causes(issues: Sequence[Issue], results: Results, rules: Iterable[CauseRule]) -> tuple[Issue, ...]:
    """
    *issues* with what each follows from and explains, every cause before its effects.

    A family of issues is as urgent as the most urgent of it. Of those that are equally urgent come first
    whose roots have the fewest causes known: what many things lead to is a symptom more often than not, also
    where nothing was seen of its cause.

    Args:
        issues: As detected, the heaviest first.
        results: What the diagnostics read.
        rules: What leads to what on this kind of target.
    """
    rules = tuple(rules)
    links: dict[str, list[CauseLink]] = {issue.fingerprint: [] for issue in issues}
    for rule in rules:
        for effect in issues:
            if not rule.effects.isdisjoint(effect.signs):
                found = (
                    link_of(rule, cause, effect, results) for cause in issues if _leads(rule, cause, effect)
                )
                links[effect.fingerprint] += [link for link in found if link is not None]
    named = _without_circles({effect: ranked(found) for effect, found in links.items()})
    linked = [
        issue.model_copy(
            update={
                "follows_from": named[issue.fingerprint],
                "explains": tuple(
                    other.fingerprint
                    for other in issues
                    if named[other.fingerprint] and named[other.fingerprint][0].cause == issue.fingerprint
                ),
            }
        )
        for issue in issues
    ]
    return tuple(_causes_first(linked, rules))


def _leads(rule: CauseRule, cause: Issue, effect: Issue) -> bool:
    return cause is not effect and not rule.causes.isdisjoint(cause.signs)


def link_of(rule: CauseRule, cause: Issue, effect: Issue, results: Results) -> CauseLink | None:
    """The link, unless more speaks against it than for it, or nothing for it and the cause is the milder."""
    told = [(clue, clue.look(results)) for clue in rule.clues]
    support = tuple(clue.if_so for clue, is_so in told if is_so)
    against = tuple(clue.if_not for clue, is_so in told if is_so is False)
    if rule.of_one is not None:
        is_one = rule.of_one(results, cause.about, effect.about)
        if is_one is False:
            return None
        support += (f"Both are about {effect.about}.",) if is_one else ()
    if len(against) > len(support):
        return None
    if not support and WEIGHT.index(cause.severity) > WEIGHT.index(effect.severity):
        return None  # that both are there makes no small matter the cause of a great one
    return CauseLink(
        cause=cause.fingerprint, title=cause.title, why=rule.why, support=support, against=against
    )


def ranked(links: Sequence[CauseLink]) -> list[CauseLink]:
    """One link for each cause, what most speaks for first; rules come in the order of their trust."""
    best: dict[str, CauseLink] = {}
    for link in links:
        if link.cause not in best or _strength(link) > _strength(best[link.cause]):
            best[link.cause] = link
    return sorted(best.values(), key=lambda link: -_strength(link))


def _strength(link: CauseLink) -> int:
    return len(link.support) - len(link.against)


def _without_circles(links: Mapping[str, list[CauseLink]]) -> dict[str, tuple[CauseLink, ...]]:
    """Leave out what would make an issue its own cause, and what only passes the named cause on."""
    named: dict[str, tuple[CauseLink, ...]] = dict.fromkeys(links, ())
    for effect, found in links.items():
        named[effect] = tuple(link for link in found if not _reaches(named, link.cause, effect))
    return {
        effect: tuple(link for link in found if not _reaches(named, link.cause, found[0].cause))
        for effect, found in named.items()
    }


def _reaches(named: Mapping[str, tuple[CauseLink, ...]], start: str, wanted: str) -> bool:
    """Whether the causes of *start*, followed upwards, come to *wanted*."""
    while named[start]:
        start = named[start][0].cause
        if start == wanted:
            return True
    return False


def _known_causes(issue: Issue, rules: Iterable[CauseRule]) -> int:
    """How many findings are known to lead to *issue*, on any target."""
    leading = (rule.causes for rule in rules if not rule.effects.isdisjoint(issue.signs))
    return len(frozenset[str]().union(*leading))


def _causes_first(issues: Sequence[Issue], rules: Sequence[CauseRule]) -> Iterable[Issue]:
    by_fingerprint = {issue.fingerprint: issue for issue in issues}

    def family(issue: Issue) -> list[Issue]:
        return [issue, *(each for name in issue.explains for each in family(by_fingerprint[name]))]

    families = [family(issue) for issue in issues if not issue.follows_from]
    families.sort(
        key=lambda members: (
            min(WEIGHT.index(member.severity) for member in members),
            _known_causes(members[0], rules),
        )
    )
    return (issue for members in families for issue in members)
