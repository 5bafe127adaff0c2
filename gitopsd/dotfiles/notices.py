"""What people are told about their dotfiles: one function for each thing that may be so."""

import re
import stat
from collections.abc import Sequence
from shlex import quote

from gitopsd.secrets.rules import cleared, names_secret
from gitopsd.tools.chezmoi import UNNAMED, Comparison, Home, Row
from gitopsd.tools.chezmoi_names import is_template, target_of
from gitopsd.tools.git import printable
from gitopsd.tools.jj import NEW_FILE_LIMIT
from gitopsd.types import Notice

_NO_SECRET = re.compile(r"open (?P<path>/run/secrets/(?P<name>\S+)): no such file or directory")
_QUOTED = re.compile(r" at <.*>(?=:|$)", re.DOTALL)
_KINDS = {stat.S_IFREG: "a file", stat.S_IFDIR: "a directory", stat.S_IFLNK: "a link"}


def shown(text: str) -> str:
    """A name or a reason fit for a status: without what has the form of a secret, and for a terminal."""
    return printable(cleared(text))


def broken(seen: Comparison) -> list[Notice]:
    """Each target that cannot be read or made, and why."""
    notices = [waits(target, reason) for target, reason in seen.waiting.items()]
    if seen.broken:
        what = f"many targets cannot be made; templates and encrypted files are left out: {_told(seen.broken)}"
        notices.append(Notice(what=what, advice="chezmoi diff"))
    return notices


def fails(reason: str) -> bool:
    """Whether a target waits since its template fails, and not for what is in the home."""
    return reason.startswith("template: ")


def _told(reason: str) -> str:
    """Why chezmoi failed, without the action that Go quotes, since there may be literals in it."""
    return shown(_QUOTED.sub(" at <...>", reason))


def waits(target: str, reason: str) -> Notice:
    """A target that cannot be read or made, for the reason that chezmoi gives."""
    if reason == UNNAMED:
        name = shown(target) if names_secret(target) else ""
        return Notice(
            what=f"{name or 'a file'} waits: {reason}; nothing of it is captured or written",
            path=name,
            advice="give it another name, in the home and in the source directory",
        )
    name = shown(target)
    if missing := _NO_SECRET.search(reason):
        return Notice(
            what=f"{name} waits for {shown(missing['path'])}, which is not decrypted on this host yet",
            path=name,
            advice=f"declare sops.secrets.{shown(missing['name'])} in the NixOS configuration, then gitopsctl upgrade",
        )
    if fails(reason):
        what = f"{name} waits: its template cannot be rendered: {_told(reason)}"
        return Notice(what=what, path=name, advice=f"chezmoi cat ~/{name}")
    what = f"{name} waits, since chezmoi cannot read or make it; nothing of it is captured or written: {_told(reason)}"
    return Notice(what=what, path=name, advice=f"chezmoi diff ~/{name}")


def drift(target: str, source: str) -> Notice:
    """An edit of what chezmoi cannot take in: a template, or no plain file."""
    if is_template(source):
        what, advice = "was edited, and comes from a template: the edit is kept and not captured", "chezmoi edit"
    else:
        what, advice = "was changed, and is no plain file to chezmoi: it is kept and not captured", "chezmoi diff"
    return Notice(what=f"{shown(target)} {what}", path=shown(target), advice=f"{advice} ~/{shown(target)}")


def taken_out(target: str) -> Notice:
    """An edit of what the repository does not have any more."""
    return Notice(
        what=f"{shown(target)} was edited here, and was taken out of the repository: it is left as it is",
        path=shown(target),
        advice=f"chezmoi add ~/{shown(target)}  # if all hosts should have it again; else move it away",
    )


def not_ours(folder: str, stranger: str) -> Notice:
    """A directory that is to go, with something in it that chezmoi never wrote."""
    return Notice(
        what=f"{shown(folder)} is no directory in the repository any more, and {shown(stranger)} in it is yours "
        "alone: it is left as it is",
        path=shown(folder),
        advice=f"move what is yours out of ~/{shown(folder)}: the next sync does the rest",
    )


def closed(target: str) -> Notice:
    """A target that would be less private if it were written."""
    return Notice(
        what=f"{shown(target)} has permissions that chezmoi cannot keep, and to write it would open it to others: "
        "it is left as it is",
        path=shown(target),
        advice=f"chmod 600 ~/{shown(target)}  # or 644: these can be kept",
    )


def cannot_capture(target: str, reason: str) -> Notice:
    """An edit that chezmoi does not take, for the reason that it gives."""
    return Notice(
        what=f"{shown(target)} was edited, and cannot be captured: {shown(reason)}",
        path=shown(target),
        advice=f"chezmoi re-add ~/{shown(target)}",
    )


def both_edited(target: str) -> Notice:
    """An edit of a target whose source was edited too, or may have been."""
    return Notice(
        what=f"{shown(target)} was edited, and it is not known on which version: both it and its source are kept",
        path=shown(target),
        advice=f"chezmoi merge ~/{shown(target)}",
    )


def not_captured(target: str) -> Notice:
    """An edit that came too late for this sync."""
    return Notice(
        what=f"{shown(target)} was edited during the sync, or in home and source alike: it is kept, and the next sync "
        "captures it",
        path=shown(target),
        advice="gitopsctl sync",
    )


def not_written(target: str) -> Notice:
    """A target that is still what it was after an apply."""
    return Notice(
        what=f"{shown(target)} could not be written, or was edited at that moment: it is left as it is",
        path=shown(target),
        advice=f"chezmoi apply ~/{shown(target)}",
    )


def withheld(path: str, source: str, commit: str) -> Notice:
    """A source whose newest version was kept from the push, and whose file here is the trunk's from now on."""
    return Notice(
        what=f"{shown(path)} as it is here holds what looks like a secret, which the trunk has not: it is not "
        f"published, and kept in {commit[:12]}",
        path=shown(target_of(path)),
        advice=f"git -C {source} show {quote(f'{commit[:12]}:{shown(path)}')}  # take over what is none",
    )


def half_migrated(source: str) -> Notice:
    """A migration of secrets is under way, or was killed."""
    return Notice(
        what=f"a migration of secrets in {source} has not come to its end: nothing is captured, published or applied",
        advice="gitopsctl secrets migrate  # takes it back first, if it was killed",
    )


def script_failed(scripts: Sequence[str]) -> Notice:
    """One of these scripts failed; chezmoi does not say which."""
    return Notice(what=f"a script failed, one of {', '.join(map(shown, scripts))}", advice="chezmoi apply")


def kept(target: str, why: str) -> Notice:
    """An edit that stays in the home only."""
    return Notice(
        what=f"{shown(target)} is kept as it is: {why}",
        path=shown(target),
        advice=f"chezmoi diff ~/{shown(target)}",
    )


def marked(path: str, trunk: str) -> Notice:
    """A file with conflict markers in it."""
    file = shown(target_of(path))
    return Notice(
        what=f"{file} has conflict markers that nobody settled: it is parked, and neither goes to {trunk} nor to the home",
        path=file,
        advice=f"gitopsctl dotfiles resolve {file} --edit  # or adopt --mine ~/{file}, if the home's version is right",
    )


def unsettled(path: str, source: str, trunk: str) -> Notice:
    """A file that is in conflict in the working copy."""
    file = shown(target_of(path))
    return Notice(
        what=f"{file} is in conflict in {source}: it is parked, and neither goes to {trunk} nor to the home",
        path=file,
        advice=f"cd {source} && jj resolve {quote(shown(path))}  # or take the markers out with an editor",
    )


def apart(path: str, source: str, trunk: str) -> Notice:
    """A file in conflict in the working copy that is no text."""
    file = shown(target_of(path))
    return Notice(
        what=f"{file} is in conflict in {source}, and is no text: it stays there, and neither goes to {trunk} nor to the home",
        path=file,
        advice=f"cd {source} && jj restore --from {trunk}@origin {quote(shown(path))}  # or put a file in its place",
    )


def in_conflict(target: str) -> Notice:
    """An edit of a target whose source is in conflict."""
    return Notice(
        what=f"{shown(target)} was edited, and its source is in conflict: both are kept",
        path=shown(target),
        advice=f"gitopsctl dotfiles adopt --mine ~/{shown(target)}  # or settle the conflict first",
    )


def same_name(host: str, source: str) -> Notice:
    """Somebody else has written this host's bookmark."""
    bookmark = f"gitopsd/{host}"
    return Notice(
        what=f"another host is called {host} too, and has written {bookmark}: that is left as it is, and what this host "
        "parks stays here until one of them has another name",
        advice=f"networking.hostName, or `host` in gitopsd's configuration, on one of them; if the other is gone: git -C "
        f"{source} push origin origin/{bookmark}:refs/heads/{bookmark}-before :refs/heads/{bookmark}",
    )


def is_text(path: str) -> bool:
    """Whether a path is UTF-8."""
    try:
        path.encode()
    except UnicodeEncodeError:
        return False
    return True


def ignored(path: str) -> Notice:
    """A file of the source directory that jj does not take in."""
    if not is_text(path):
        return Notice(
            what=f"{shown(path)} in the source directory has a name that is no UTF-8, which jj does not take in: not captured",
            path=shown(path),
            advice="give it another name",
        )
    return Notice(
        what=f"{shown(path)} in the source directory is ignored by git (.gitignore, or the person's own ignore file): "
        "not captured, and no other host has it",
        path=shown(path),
        advice=f"git check-ignore -v {quote(shown(path))}  # names the line; or chezmoi forget the file",
    )


def too_big_here(target: str) -> Notice:
    """An edit that has made a target too big to be captured."""
    return Notice(
        what=f"{shown(target)} is over {NEW_FILE_LIMIT // 1024 // 1024} MiB now: it is kept and not captured",
        path=shown(target),
        advice=f"chezmoi forget ~/{shown(target)}  # or make it smaller",
    )


def too_big(path: str) -> Notice:
    """A file of the source directory that is too big to be captured."""
    return Notice(
        what=f"{shown(path)} in the source directory is over {NEW_FILE_LIMIT // 1024 // 1024} MiB: not captured",
        path=shown(path),
        advice="jj file track --include-ignored, or keep it out with .gitignore",
    )


def left_deleted(target: str, why: str = "") -> Notice:
    """Say that a deleted target is left alone."""
    reason = f" ({why})" if why else ""
    return Notice(
        what=f"{shown(target)} was deleted in the home: it is neither captured nor written again{reason}",
        path=shown(target),
        advice=f"chezmoi forget ~/{shown(target)}  # or chezmoi apply it to have it back",
    )


def home_lost(missing: int, known: int) -> Notice:
    """So many files are missing that nobody deleted them."""
    return Notice(
        what=f"{missing} of {known} files are missing in the home, as if it were lost or not mounted: no deletion is "
        "captured",
        advice="chezmoi apply  # writes them again; chezmoi forget FILE takes one out of the repository",
    )


def differs(home: Home, row: Row, source: str | None) -> Notice:
    """What is said of something in the home that chezmoi never wrote, and that it would write over or take away.

    Args:
        home: the person's.
        row: how it differs.
        source: of the target; None if there is none, and chezmoi would take it away.

    """
    name = shown(row.target)
    if source is None or row.next == "D":
        return Notice(
            what=f"{name} would be taken away by an exact_ directory or .chezmoiremove, and chezmoi did not write it: "
            "it is left as it is",
            path=name,
            advice=f"chezmoi add ~/{name}  # if all hosts should have it; else move it away",
        )
    if other := other_kind(home, row.target, source):
        return other
    return Notice(
        what=f"{name} was there before chezmoi managed it, and differs: it is left as it is",
        path=name,
        advice=f"gitopsctl dotfiles adopt --mine ~/{name}  # keeps yours; --theirs takes the repository's",
    )


def other_kind(home: Home, target: str, source: str) -> Notice | None:
    """What is said of something in the home that is no file where the source is one, or the like; None if it is alike."""
    name, here, folder = shown(target), home.kind(target), home.is_folder(source)
    if folder and here == stat.S_IFDIR:
        return Notice(
            what=f"the directory {name} has other permissions than in the repository: they are left as they are",
            path=name,
            advice=f"chezmoi apply --recursive=false ~/{name}  # takes the repository's",
        )
    link = source.rpartition("/")[2].startswith("symlink_")
    if not folder and here == (stat.S_IFLNK if link else stat.S_IFREG):
        return None
    there = "a directory" if folder else "a link" if link else "a file"
    advice = f"gitopsctl dotfiles adopt --theirs ~/{name}  # takes the repository's, and backs yours up"
    if here == stat.S_IFDIR or folder:
        advice = f"mv ~/{name} ~/{name}.mine && chezmoi apply --force ~/{name}  # takes the repository's"
    elif here == stat.S_IFLNK:
        advice += "; --mine takes the link in"
    return Notice(
        what=f"{name} is {_KINDS.get(here, 'no file')} here and {there} in the repository: it is left as it is",
        path=name,
        advice=advice,
    )


def secret_in_commits() -> Notice:
    """Commits of a person cannot be published as they are."""
    return Notice(
        what="what looks like a secret is in commits here that were not published yet: the rest of them is "
        "published as one commit of ours",
        advice="gitopsctl dotfiles status",
    )


def left_behind(source: str, trunk: str) -> Notice:
    """The trunk's bookmark here is not below the working copy."""
    return Notice(
        what=f"the bookmark {trunk} has commits here that the working copy does not stand on; they are not published",
        advice=f"cd {source} && jj rebase -s @ -d {trunk}",
    )


def rewritten(source: str, trunk: str, *, before: str, now: str) -> Notice:
    """The remote's trunk does not contain what it was any more."""
    return Notice(
        what=f"somebody rewrote {trunk} on the remote; the home follows it, and what it was before is {before[:12]}",
        advice=f"git -C {source} log -p {now[:12]}..{before[:12]}",
    )


def uncommitted(source: str) -> Notice:
    """The source directory was edited, and we are not to commit it."""
    return Notice(
        what="the source directory has changes, and auto_commit is off: nothing is published or applied",
        advice=f"cd {source} && jj commit",
    )


def edited_meanwhile() -> Notice:
    """The working copy could not be moved."""
    return Notice(what="the source directory was edited during the sync; the next one takes the edits in")


def wrong_remote(source: str, found: str, wanted: str) -> Notice:
    """The source directory is a clone of something else, or of nothing."""
    return Notice(
        what=f"{source} belongs to {shown(found) or 'no remote'}, and repo_url is {wanted}",
        advice=f"git -C {source} remote {'set-url' if found else 'add'} origin {wanted}",
    )


def not_set_up(what: str) -> Notice:
    """The source directory lacks something to be kept in step."""
    return Notice(what=what, advice="gitopsctl dotfiles init")
