"""git-filter-repo: values taken out of every version of every file and message.

The values are in a file on tmpfs that the callbacks read; none is in an argument list or an environment.
"""

import shutil
from pathlib import Path

from gitopsd.errors import Failed, ToolMissing
from gitopsd.tools.process import Account, CommandFailed, Processes

_TIMEOUT = 3600.0  # seconds

# Read once: git-filter-repo makes one function of it and calls it for each blob and each message.
_LOAD = """
import json, base64
global gitopsd_values
try:
    gitopsd_values
except NameError:
    with open({file!r}, "rb") as file:
        gitopsd_values = [base64.b64decode(each) for each in json.load(file)]
"""
_BLOB = "for value in gitopsd_values:\n    blob.data = blob.data.replace(value, b'***REMOVED***')\n"
_MESSAGE = "for value in gitopsd_values:\n    message = message.replace(value, b'***REMOVED***')\nreturn message\n"


class FilterRepo:
    """Rewrites one repository.

    Args:
        processes: starts it.
        account: whose repository it is.

    """

    def __init__(self, processes: Processes, account: Account) -> None:
        self._processes = processes
        self._account = account

    async def replace(self, directory: str, values: Path, refs: list[str], *, lock: str) -> None:
        """Replace values in all that these refs lead to. The remote and its branches are left as they are.

        Args:
            directory: the repository.
            values: a JSON list of values in base64, on tmpfs.
            refs: in full.
            lock: a file; for as long as the program runs, and be it after our own end, it has a shared lock on it.

        Raises:
            ToolMissing: there is no git-filter-repo.
            Failed: it cannot; nothing was rewritten.

        """
        load = _LOAD.format(file=str(values))
        # What a run before this one left there would make this one its continuation.
        shutil.rmtree(Path(directory, ".git/filter-repo"), ignore_errors=True)
        try:
            await self._processes.run(
                (
                    *("git-filter-repo", "--force", "--partial", "--quiet"),
                    *("--blob-callback", load + _BLOB, "--message-callback", load + _MESSAGE, "--refs", *refs),
                ),
                timeout=_TIMEOUT,
                through=("flock", "--no-fork", "--shared", lock),
                account=self._account,
                cwd=directory,
            )
        except ToolMissing as error:
            raise ToolMissing(
                "git-filter-repo is not installed",
                meaning="nothing was changed",
                advice="install git-filter-repo (nixpkgs and Debian have it by this name)",
            ) from error
        except CommandFailed as error:
            raise Failed(
                f"git-filter-repo failed: {error.result.tail()}",
                meaning="nothing was rewritten",
                advice="mend what it says, then `gitopsctl secrets scrub --rewrite` again",
            ) from error
