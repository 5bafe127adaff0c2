"""The invariants of the dotfiles half, as questions to a fleet. The numbers are those of the specification.

`always` holds after every action, also between a killed sync and the next one; `synced` after a sync that came to its
end; `converged` once edits have stopped and every host has synced twice.
"""

from typing import TYPE_CHECKING, NamedTuple

from soak.ledger import secrets_in, words, words_of
from soak.views import Doubled, Files, as_target, put_aside

from gitopsd.types import PersonFacts, SyncWord

if TYPE_CHECKING:
    from soak.fleet import Fleet
    from soak.site import Site

COMMITS = "(commits)"  # stands for the target of what is said of a person's commits as a whole
_SAID_SUCCESS = (SyncWord.success, SyncWord.success_local_only, SyncWord.conflicts_preserved)


class Violated(AssertionError):
    """An invariant does not hold.

    Args:
        invariant: its number and name.
        story: all of it.

    """

    def __init__(self, invariant: str, story: str) -> None:
        super().__init__(story)
        self.invariant = invariant


class Before(NamedTuple):
    """What a host has when a sync begins."""

    home: Files
    source: Files
    aside: str  # all texts that the gate has put where neither jj nor git looks

    @classmethod
    def of(cls, site: "Site") -> "Before":
        return cls(site.files(), site.managed(), put_aside(site.source))

    def everything(self) -> str:
        return "".join((*(file.text for file in (*self.home.values(), *self.source.values())), self.aside))


def fail(fleet: "Fleet", invariant: str, what: str) -> Violated:
    """Say what is violated, and how one comes there."""
    heads = "".join(f"\n  {commit[:12]} {name}" for name, commit in sorted(fleet.remote.heads.items()))
    trunk = fleet.remote.heads.get("main", "")
    story = "".join(f"\n  {line}" for line in fleet.script)
    notices = "".join(
        f"\n  {name}: {notice.what}"
        for name, site in fleet.sites.items()
        if site.facts
        for notice in site.facts.notices
    )
    try:
        files = "".join(f"\n  {target}: {' '.join(f.text.split())}" for target, f in fleet.remote.files(trunk).items())
    except Doubled as doubled:
        files = f"\n  {doubled}"
    return Violated(
        invariant,
        f"violated: {invariant}: {what}\nactions:{story}\nlast notices:{notices}\nremote:{heads}\ntrunk:{files}",
    )


def parked(site: "Site") -> dict[str, str]:
    """What the last sync of a host parked: bookmarks by target."""
    return {} if site.facts is None else {as_target(found.path)[0]: found.bookmark for found in site.facts.parked}


def noticed(site: "Site") -> set[str]:
    """The targets that the last sync left alone and named."""
    return set() if site.facts is None else {_target(notice.path) for notice in site.facts.notices if notice.path}


def _target(path: str) -> str:
    """What people are told of may be named as in the home or as in the source directory."""
    return as_target(path)[0]


def always(fleet: "Fleet") -> None:
    """Nothing that nobody took out is gone from a home, from the trunk, or from the remote."""
    ledger, remote = fleet.ledger, fleet.remote
    for name, site in fleet.sites.items():
        now = words_of(file.text for file in site.files().values())
        ledger.dropped[name] -= now
        if lost := ledger.homes[name] - now - ledger.removed - ledger.dropped[name]:
            raise fail(fleet, "5 home is sacred", f"{sorted(lost)} are gone from the home of {name}")
        ledger.homes[name] = now
    if leaked := remote.has(ledger.secrets):
        raise fail(fleet, "8 clean", f"the objects of the remote have {sorted(leaked)}")
    old = remote.heads.get("main", "")
    if not remote.look():
        return
    if lost := ledger.durable - remote.reachable - ledger.removed:
        raise fail(fleet, "1 durable", f"{sorted(lost)} are not reachable on the remote any more")
    trunk = remote.heads.get("main", "")
    if old and not remote.contains(trunk, old):
        raise fail(fleet, "2 no revert", f"the trunk {trunk[:12]} does not contain what it was, {old[:12]}")
    now = words_of(file.text for file in _tree(fleet, "main").values())
    if lost := ledger.trunk - now - ledger.removed:
        raise fail(fleet, "2 no revert", f"{sorted(lost)} are gone from the trunk, and nobody removed them")
    if risen := now & ledger.left_trunk - ledger.again:
        raise fail(fleet, "2 no revert", f"{sorted(risen)} had been removed from the trunk, and are there again")
    ledger.left_trunk |= ledger.trunk - now
    ledger.trunk = now


def synced(fleet: "Fleet", site: "Site", before: Before, facts: PersonFacts, *, disturbed: bool) -> None:
    """What a host may say after a sync that came to its end.

    Args:
        fleet: where it happened.
        site: the host.
        before: what it had when the sync began.
        facts: what the sync said.
        disturbed: something happened in the middle of it: then the next sync has to make good for it.

    """
    name = site.name
    if not disturbed:
        _words(fleet, site, facts)
        _kept_from_the_remote(fleet, site, before, facts)
    if facts.word is SyncWord.fetch_failed:
        _committed_here(fleet, site, before)
    if facts.word not in _SAID_SUCCESS:
        return
    if not facts.published:
        raise fail(fleet, "1 durable", f"{name} says {facts.word.value} and has not read the remote back")
    # What was left alone is nobody's affair any more once another host took the target from under chezmoi.
    alone = noticed(site) | fleet.ledger.reasons[name].keys() - site.managed().keys()
    taken = {
        word
        for target, file in before.home.items()
        if target in before.source and target not in alone and not secrets_in(file.text)
        for word in words(file.text)
    }
    # What was written into the version that a killed sync had put in the place of a held one, is held back with that.
    held = {target for target, file in site.managed().items() if secrets_in(file.text)}
    taken |= words_of(
        file.text for target, file in before.source.items() if not secrets_in(file.text) and target not in held
    )
    if facts.word is SyncWord.success:  # then nothing that chezmoi manages is in this home only
        taken |= {word for target, file in before.home.items() if target in before.source for word in words(file.text)}
    taken -= fleet.ledger.removed
    if lost := taken - fleet.remote.reachable:
        raise fail(fleet, "1 durable", f"{name} says {facts.word.value}, and the remote has nothing of {sorted(lost)}")
    fleet.ledger.durable |= taken
    if not disturbed:
        _reasons(fleet, site)
        _rendered(fleet, site)


def _words(fleet: "Fleet", site: "Site", facts: PersonFacts) -> None:
    """Invariants 6 and 7: no sync fails for what people did to their files, and offline has a word of its own."""
    if facts.word is SyncWord.fetch_failed and not site.online:
        return
    right = facts.word in _SAID_SUCCESS and site.online
    if not right or (facts.word is SyncWord.conflicts_preserved) is not bool(facts.parked):
        which = "6 unattended" if site.online else "7 offline is normal"
        said = "; ".join(notice.what for notice in facts.notices)
        raise fail(fleet, which, f"{site.name} says {facts.word.value} ({len(facts.parked)} parked): {said}")


def _kept_from_the_remote(fleet: "Fleet", site: "Site", before: Before, facts: PersonFacts) -> None:
    """Invariants 1 and 8: what has a secret is named and not called published, and all of it is still on its host."""
    now = Before.of(site)
    have, kept = before.everything(), now.everything()
    if lost := set(secrets_in(have)) - set(secrets_in(kept)) - fleet.ledger.taken_out:
        raise fail(fleet, "1 durable", f"{sorted(lost)}, which the gate stopped, are not on {site.name} any more")
    held = {target for target, file in now.source.items() if secrets_in(file.text)}
    stopped = {
        target for target, file in before.source.items() if secrets_in(file.text) or (before.aside and target in held)
    }
    lines = words_of([before.aside, *(before.source[target].text for target in stopped)]) - fleet.ledger.removed
    if lost := lines - words(kept) - fleet.remote.reachable:
        raise fail(fleet, "1 durable", f"{sorted(lost)} stood beside a secret, and are not on {site.name} any more")
    named = {_target(finding.path) for finding in facts.quarantined}
    drifted = {target for target in noticed(site) if target not in stopped}
    stopped |= {
        target
        for target, file in before.home.items()
        if target in before.source and not fleet.ledger.taken_out.issuperset(secrets_in(file.text))
    }
    if facts.word in _SAID_SUCCESS and (silent := stopped - named - drifted):
        raise fail(fleet, "8 clean", f"{site.name} does not say that {sorted(silent)} are held back")
    if facts.word is SyncWord.success and stopped:
        raise fail(fleet, "8 clean", f"{site.name} says success, and {sorted(stopped)} are held back")


def _committed_here(fleet: "Fleet", site: "Site", before: Before) -> None:
    """Invariant 7: what was captured without a network is in a commit of this host."""
    history = words(site.run("git", "log", "--all", "-p", "-m", "--text", "--format=", where=site.source))
    alone = noticed(site)
    for target, file in before.home.items():
        lost = words(file.text) - history
        if target in before.source and target not in alone and not secrets_in(file.text) and lost:
            raise fail(fleet, "7 offline is normal", f"{sorted(lost)} of {target} are in no commit of {site.name}")


def _reasons(fleet: "Fleet", site: "Site") -> None:
    """Invariant 5: a file is left alone for a reason only. And 4: it is parked only if two hosts changed it."""
    held = {target for target, file in site.managed().items() if secrets_in(file.text)}
    reasons = fleet.ledger.reasons[site.name].keys() | held
    for notice in site.facts.notices if site.facts else ():
        if "until you remove" in notice.what and put_aside(site.source):
            continue
        # The version that an edit was made on is not looked for under the other names of its source.
        target = COMMITS if "in commits here" in notice.what else _target(notice.path)
        renamed = target in fleet.ledger.renamed and "not known on which version" in notice.what
        if target not in reasons and not renamed:
            raise fail(fleet, "5 home is sacred", f"{site.name} has no reason to say: {notice.what}")
    for target in parked(site):
        if not fleet.ledger.authors[target] - {site.name}:
            raise fail(fleet, "4 isolated", f"{site.name} parked {target}, which no other host has changed")


def _rendered(fleet: "Fleet", site: "Site") -> None:
    """Invariant 4: whatever is neither parked nor held back is the same on the trunk and in the home, also the mode."""
    mine, source, alone = site.files(), site.managed(), noticed(site)
    trunk, own = _tree(fleet, "main"), parked(site)
    for target in trunk.keys() | source.keys():
        if target in source and secrets_in(source[target].text):
            pass  # it is neither: the gate holds it back
        elif target in own:
            bookmark = _tree(fleet, own[target])
            if bookmark.get(target) != source.get(target):
                raise fail(
                    fleet, "1 durable", f"the parked {target} of {site.name} is not what stands on {own[target]}"
                )
        elif trunk.get(target) != source.get(target):
            raise fail(fleet, "4 isolated", f"{target} of {site.name} is not parked, and not the trunk's either")
        if target in alone or target not in source or (target in mine and secrets_in(mine[target].text)):
            continue
        if mine.get(target) != source[target]:
            raise fail(fleet, "3 convergent", f"{target} in the home of {site.name} is {mine.get(target)}")


def _tree(fleet: "Fleet", branch: str) -> Files:
    try:
        return fleet.remote.files(fleet.remote.heads.get(branch, ""))
    except Doubled as doubled:
        raise fail(fleet, "4 isolated", f"chezmoi refuses {branch}: {doubled}") from None


def converged(fleet: "Fleet") -> None:
    """Invariant 3: one trunk on all, every home renders the same, apart from parked conflicts."""
    trunk = fleet.remote.heads.get("main", "")
    for site in fleet.sites.values():
        known = site.run("git", "rev-parse", "refs/remotes/origin/main", where=site.source).strip()
        if known != trunk:
            raise fail(fleet, "3 convergent", f"{site.name} knows the trunk as {known[:12]}, and it is {trunk[:12]}")
        _reasons(fleet, site)
        _rendered(fleet, site)
