"""Where a checkout comes from: the configuration's remote, where only the checkout is named."""

from pathlib import Path

from gitopsd.checkout.owner import owner_of
from gitopsd.errors import Failed
from gitopsd.tools.git import Git
from gitopsd.tools.process import CommandFailed, Processes

_ADVICE = "set config.repo_url, or clone the configuration there"


async def origin_of(processes: Processes, checkout: str) -> str:
    """The URL of the remote `origin`, asked as the checkout's owner.

    Raises:
        Failed: there is no such checkout, it is not clear whose it is, or it has no such remote.

    """
    try:
        owner = owner_of(Path(checkout))
        told = await Git(processes, checkout, owner).run("cannot ask for origin", "remote", "get-url", "origin")
    except CommandFailed as error:
        problem = f"{checkout} has no remote `origin`: {error.result.tail() or 'git does not know one'}"
        raise Failed(problem, meaning="no configuration can be fetched", advice=_ADVICE) from error
    except Failed as error:
        raise Failed(error.message, meaning="no configuration can be fetched", advice=_ADVICE) from error
    return told.stdout.strip()
