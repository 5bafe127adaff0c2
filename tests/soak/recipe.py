"""The script that people use, put right as far as it goes (see "The recipe that people use" in the specification).

It is run through the same steps and checks as the real daemon: to show that the checks would find what is wrong with it.
"""

from soak.site import Site

from gitopsd.tools.git import foreign_error
from gitopsd.types import PersonFacts

_TIMEOUT = 60.0  # seconds
_IDENTITY = ("--config", "user.name=rain", "--config", "user.email=rain@example.org")  # else jj pushes nothing


class Recipe:
    """`ports.Dotfiles`: fetch, rebase onto the trunk, re-add, describe, push, apply.

    Args:
        site: whose home it keeps.

    """

    def __init__(self, site: Site) -> None:
        self._site = site

    @property
    def user(self) -> str:
        return self._site.account.name

    async def fetch(self, facts: PersonFacts) -> PersonFacts:
        await self._run("jj", "bookmark", "track", "main@origin")
        await self._run("jj", "git", "fetch")
        await self._run("jj", "rebase", "-d", "main@origin")
        return facts

    async def capture(self, facts: PersonFacts) -> PersonFacts:
        await self._run("chezmoi", "re-add")
        await self._run("jj", "describe", "-m", f"chore({self._site.name}): auto-update")
        return facts

    async def publish(self, facts: PersonFacts, message: str) -> PersonFacts:
        if facts.offline:
            return facts
        await self._run("jj", "bookmark", "set", "main", "-r", "@")
        await self._run("jj", "git", "push", "-b", "main")
        return PersonFacts(user=facts.user, word=facts.word, published=True, sent=True)

    async def apply(self, facts: PersonFacts) -> PersonFacts:
        if not facts.offline:
            await self._run("chezmoi", "apply", "--force")
        return facts

    async def _run(self, *argv: str) -> None:
        identity = _IDENTITY if argv[0] == "jj" else ()
        result = await self._site.processes.run(
            (*argv, *identity), timeout=_TIMEOUT, account=self._site.account, cwd=str(self._site.source), check=False
        )
        if result.status != 0:
            raise foreign_error(f"{argv[0]} {argv[1]}", result)
