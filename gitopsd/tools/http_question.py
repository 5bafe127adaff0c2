"""A program: ask a URL for its status. Run by its path, with the standard library only.

urllib's time limit is one of each read, and of no look-up of a name: a server that says a little every second would be
listened to for ever. Whoever starts this program ends it.
"""

import sys
import urllib.error
import urllib.request
from http import HTTPStatus
from http.client import HTTPException


def main(url: str) -> str:
    """Ask it. Redirects are followed.

    Args:
        url: whose scheme was checked in the configuration.

    Returns:
        What is wrong with the answer; empty if it has a status below 400.

    """
    try:
        with urllib.request.urlopen(url) as answer:  # noqa: S310  # see above
            status = answer.status
    except urllib.error.HTTPError as error:
        with error:
            status = error.code
    except (OSError, ValueError, HTTPException) as error:
        return str(getattr(error, "reason", error) or type(error).__name__)
    return "" if status < HTTPStatus.BAD_REQUEST else f"status {status}"


if __name__ == "__main__":
    sys.stdout.write(main(sys.argv[1]))
