"""How what a cycle knows of one person's dotfiles grows: changed, said, kept, parked, held back."""

from msgspec.structs import replace

from gitopsd.dotfiles.notices import shown
from gitopsd.tools.chezmoi_names import same_target, target_of
from gitopsd.types import Finding, Notice, Parked, PersonFacts, SyncWord


def quarantined(facts: PersonFacts, *findings: tuple[Finding, ...]) -> PersonFacts:
    """Say what the gate stopped, each value once for each file: all is well then, but not all is published."""
    every = [*facts.quarantined, *(finding for part in findings for finding in part)]
    distinct = {(same_target(target_of(each.path)), each.fingerprint, each.rule): each for each in reversed(every)}
    facts = replace(facts, quarantined=tuple(reversed(distinct.values())))
    if every and facts.word is SyncWord.success:
        facts = replace(facts, word=SyncWord.success_local_only)
    return facts


def kept_here(facts: PersonFacts, *notices: Notice) -> PersonFacts:
    """Say of edits that they are kept, in the home only: then all is well, but not all is published."""
    if notices and facts.word is SyncWord.success:
        facts = replace(facts, word=SyncWord.success_local_only)
    return facts.noted(*notices)


def as_parked(path: str, bookmark: str, commit: str) -> Parked:
    """What stands beside the trunk, as people call it."""
    return Parked(path=shown(path), bookmark=bookmark, commit=commit, file=shown(target_of(path)))
