"""The words of a message: a title for a lock screen, and what somebody has to know who reads on."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence

from medic8.model.notice import Event, Notice
from medic8.model.wording import counted, moment, short, visible
from medic8.notifying.courier import Message

#: Longer ones are cut on lock screens, and by services.
LONGEST_TITLE = 120

#: Longest line, and longest body; services cut or split what is longer.
_LONGEST_LINE = 300
LONGEST_BODY = 3000

#: Of so many notices the first lines are told in a digest; the rest is counted.
_MOST_TOLD = 20

#: The event as the beginning of a sentence, and as Apprise calls such.
_WORDS = {
    Event.NEEDS_PERSON: ("needs a person", "failure"),
    Event.NEEDS_APPROVAL: ("needs your approval", "warning"),
    Event.NOT_APPROVED: ("not approved", "warning"),
    Event.ESCALATED: ("automation stopped", "failure"),
    Event.RESTORED: ("put back, not healed", "warning"),
    Event.RESOLVED: ("healed", "success"),
    Event.REFUSED: ("refused", "info"),
    Event.ALERT_UNANSWERED: ("alert not answered", "failure"),
    Event.HEARTBEAT_SILENT: ("heartbeat silent", "failure"),
    Event.SCHEDULE_SILENT: ("nobody looks", "failure"),
}

#: In a digest these come first, a line each, however many there are of others.
_FIRST = (Event.NEEDS_PERSON, Event.NEEDS_APPROVAL)

#: What is worst comes first when a digest is told as one kind.
_WORST = ("failure", "warning", "info", "success")


def title_of(notice: Notice) -> str:
    """``db1: needs a person: …``, and what was lost, as in ``lab: healed, 3 pages given up: …``."""
    begin = f"{notice.target}: " if notice.target else ""
    lost = f", {notice.lost}" if notice.lost else ""
    return _line(f"{begin}{_WORDS[notice.event][0]}{lost}: {notice.title}", LONGEST_TITLE)


def single(notice: Notice, *, runs_page: str = "", link: str = "", decided: str = "") -> Message:
    """
    One notice as a message.

    Args:
        notice: What to tell.
        runs_page: The address below which runs have their pages; empty = unknown.
        link: Where whoever reads it may decide; empty = nowhere.
        decided: Why there is nothing to decide any more; empty if there is.
    """
    does = "What would be done" if notice.event is Event.NEEDS_APPROVAL else "What was done"
    parts = [
        _lines("What is wrong", (notice.issue,)),
        _lines("Plan", (notice.plan,)),
        _lines("Why", (notice.reason,)),
        _lines(does, notice.done),
        _lines("What is left", notice.left),
        _lines("What to do", _commands(notice, decided)),
    ]
    if link:
        parts.append(_lines("Decide here, once and soon", (link,), most=len(link)))
    elsewhere = (f"run {runs_page}/{notice.run}",) if runs_page and notice.run else ()
    parts.append(_lines("", (*elsewhere, f"at {moment(notice.at)}")))
    title = title_of(notice)
    if decided:
        title = _line(f"{notice.target}: decided already: {notice.title}", LONGEST_TITLE)
    return Message(title=title, body=_body(parts), kind=_kind(notice))


def digest(notices: Sequence[Notice]) -> Message:
    """Many notices as one message: how many of what, and the first lines of them."""
    counts = Counter(each.event for each in notices)
    words = [f"{number} {_WORDS[event][0]}" for event, number in sorted(counts.items(), key=_rank)]
    first = [each for each in notices if each.event in _FIRST]
    others = [each for each in notices if each.event not in _FIRST]
    told = [title_of(each) + _how(each) for each in first]
    told += [title_of(each) for each in others[: max(0, _MOST_TOLD - len(first))]]
    more = len(first) + len(others) - len(told)
    rest = (f"and {more} more: medic8 notify list --all",) if more > 0 else ()
    kinds = {_kind(each) for each in notices}
    about = sorted({each.target for each in notices if each.target})
    on = f" on {about[0]}" if len(about) == 1 else f" on {counted(len(about), 'target')}" if about else ""
    return Message(
        title=_line(f"{counted(len(notices), 'message')}{on}: {', '.join(words)}", LONGEST_TITLE),
        # Those that somebody waits for are told whole, whatever the length.
        body="\n".join([*told[: len(first)], _body([told[len(first) :], list(rest)])]).strip(),
        kind=next(each for each in _WORST if each in kinds),
    )


def trial(name: str) -> Message:
    """What is sent to see whether *name* works."""
    return Message(
        title="Medic8: a test message", body=f"Somebody has asked for it with: medic8 notify test {name}"
    )


def _kind(notice: Notice) -> str:
    kind = _WORDS[notice.event][1]
    return "warning" if notice.lost and kind == "success" else kind


def _rank(item: tuple[Event, int]) -> int:
    return list(_WORDS).index(item[0])


def _how(notice: Notice) -> str:
    if notice.event is Event.NEEDS_APPROVAL:
        return f" (medic8 approve {short(notice.digest)})"
    return f" (medic8 show {notice.recovery[:8]})" if notice.recovery else ""


def _commands(notice: Notice, decided: str) -> tuple[str, ...]:
    """What somebody can call, the most urgent first."""
    if decided:
        return (decided,)
    which = short(notice.digest)
    if notice.event is Event.NEEDS_APPROVAL:
        return (f"medic8 approve {which} --reason WHY", f"medic8 deny {which} --reason WHY", *_show(notice))
    if notice.event is Event.NEEDS_PERSON:
        return (*_show(notice), f"when it is dealt with: medic8 acknowledge {notice.recovery}")
    if notice.event is Event.ALERT_UNANSWERED:
        return ("medic8 alerts --all",)
    if notice.event is Event.ESCALATED:
        return ("medic8 policy show",)
    return _show(notice)


def _show(notice: Notice) -> tuple[str, ...]:
    named = notice.run or notice.recovery
    return (f"medic8 show {named}",) if named else ()


def _lines(heading: str, lines: Sequence[str], most: int = _LONGEST_LINE) -> list[str]:
    found = [_line(each, most) for each in lines if each]
    if not heading or not found:
        return found
    if len(found) == 1:
        return [f"{heading}: {found[0]}"]
    return [f"{heading}:", *(f"- {each}" for each in found)]


def _line(text: str, most: int) -> str:
    one = visible(" ".join(text.split()))
    return one if len(one) <= most else f"{one[: most - 1]}…"


def _body(parts: Sequence[Sequence[str]]) -> str:
    """The parts below one another; of one that is too long the middle is left out, so that links stay."""
    text = "\n".join(line for part in parts for line in part)
    if len(text) <= LONGEST_BODY:
        return text
    half = LONGEST_BODY // 2
    return f"{text[:half].rsplit(chr(10), 1)[0]}\n…\n{text[-half:].split(chr(10), 1)[-1]}"
