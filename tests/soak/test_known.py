"""What the random worlds have found once, made short."""

from collections.abc import Sequence
from pathlib import Path

import pytest
from soak.acts import Act, story

BASHRC, APP_CONF, TOOL, TOOLRC = 0, 2, 5, 6
SAME_LINE = [Act("edit on two hosts", 0, BASHRC, "replace", 7, other=1), Act("sync", 1), Act("sync", 0)]
FOUND = {
    "a source that was committed by hand is not written over by the home": [
        Act("edit", 1, BASHRC, "append"),
        Act("edit", 1, BASHRC, "insert", 2, flag=True),
        Act("by hand", 1, how="jj commit"),
        Act("sync", 1),
    ],
    "a parked file that is edited in home and source stays parked": [
        *SAME_LINE,
        Act("chmod", 0, BASHRC, number=0o600),
        Act("edit", 0, BASHRC, "insert", 5, flag=True),
    ],
    "the old name of a parked file is gone on both sides, and that settles nothing": [
        *SAME_LINE,
        Act("chmod", 0, BASHRC, number=0o600),
        Act("sync", 0),
        Act("chmod", 1, BASHRC, number=0o600),
        Act("sync", 1),
    ],
    "a file that was renamed after something else was parked is parked under one name": [
        Act("chmod", 0, APP_CONF, number=0o600),
        Act("edit on two hosts", 0, BASHRC, "replace", 7, other=1),
        Act("sync", 0),
        Act("sync", 1),
        Act("edit", 1, BASHRC, "append"),
        Act("sync", 1),
        Act("edit on two hosts", 0, APP_CONF, "replace", 2, other=1),
    ],
    "an edit that came while a merge was applied is an edit of what was captured": [
        Act("edit", 0, BASHRC, "replace", 0),
        Act("sync", 0),
        Act("edit", 1, BASHRC, "replace", 8),
        Act("sync, edit", 1, BASHRC, "replace", 4, number=32),
    ],
    "what a working copy that could not move has is not merged twice": [
        Act("edit", 0, BASHRC, "insert", 4),
        Act("sync, edit", 0, APP_CONF, "append", number=28, flag=True),
        Act("edit", 0, BASHRC, "remove", 3),
    ],
    "an edit that was made in home and source alike comes to rest where another host edited the same file": [
        Act("edit", 0, BASHRC, "replace", 6),
        Act("sync", 0),
        Act("edit", 1, BASHRC, "remove", 4),
        Act("edit", 1, BASHRC, "remove", 4, flag=True),
    ],
    "an edit that the gate stopped is one of what was captured, though that was published as it was merged": [
        Act("edit", 0, BASHRC, "append"),
        Act("network", 0, flag=False),
        Act("sync", 0),
        Act("plant a secret", 0, BASHRC, line=4),
        Act("edit", 1, BASHRC, "remove", 6),
        Act("sync", 1),
    ],
    "a home that has what was captured offline stays as it is when its source is held back and clashes": [
        Act("edit", 1, BASHRC, "replace", 8),
        Act("network", 1, flag=False),
        Act("sync", 1),
        Act("plant a secret", 1, BASHRC, line=0, flag=True),
        Act("edit", 0, BASHRC, "replace", 8),
    ],
    "a home that has a held source stays as it is when that clashes with another host's edit": [
        Act("edit", 0, APP_CONF, "insert", 2, flag=True),
        Act("plant a secret", 0, APP_CONF, line=1, flag=True),
        Act("sync", 0),
        Act("edit", 1, APP_CONF, "remove", 0),
        Act("sync", 1),
    ],
    "a template that became a plain file with a secret in it stays a template on the trunk": [
        Act("plant a secret", 1, TOOLRC, line=3),
        Act("follow the advice", 1, flag=True),
    ],
    "a source with a secret follows when another host renames it": [
        Act("chmod", 0, BASHRC, number=0o600),
        Act("plant a secret", 1, BASHRC, line=7, flag=True),
    ],
    "a parked source with a secret is not taken for an edit of the last moment": [
        *SAME_LINE,
        Act("plant a secret", 0, BASHRC, line=1, flag=True),
        Act("edit", 1, APP_CONF, "append"),
        Act("sync", 1),
        Act("sync", 0),
    ],
    "a sync that died before it moved finds the parked source with a secret as it was": [
        *SAME_LINE,
        Act("plant a secret", 0, BASHRC, line=1, flag=True),
        Act("step back", 0),
        Act("edit", 0, TOOL, "append"),
        Act("sync, killed", 0, number=28),
    ],
    "a line with a secret that a person deletes from the source of a template goes from the home, too": [
        Act("plant a secret", 1, TOOLRC, line=2, flag=True),
        Act("sync", 1),
        Act("edit", 1, TOOLRC, "remove", 2, flag=True),
    ],
    **{
        f"what was written into the stand-in of a held source after a kill at command {number} is held back with it": [
            Act("plant a secret", 1, BASHRC, line=5, flag=True),
            Act("sync", 1),
            Act("sync, killed", 1, number=number),
            Act("edit", 1, BASHRC, "insert", 6, flag=True),
        ]
        for number in (11, 12, 13)
    },
    "an edit that the gate stopped is not called an edit of the last moment": [
        Act("plant a secret", 1, BASHRC, line=4),
        Act("sync", 1),
    ],
    **{
        f"what was pushed before a kill at command {number} is not merged twice": [
            Act("edit", 0, BASHRC, "insert", 4),
            Act("sync, killed", 0, number=number),
            Act("edit", 0, BASHRC, "remove", 3),
        ]
        for number in (24, 26, 28)
    },
    **{
        f"a step back to the trunk after a sync that could not move (from command {number} on) is not undone": [
            Act("edit", 0, APP_CONF, "append", flag=True),
            Act("edit", 0, BASHRC, "replace", 8),
            Act("sync, edit", 0, APP_CONF, "replace", 3, number=number),
            Act("sync, edit", 0, TOOL, "remove", 8, number=38, flag=True),
            Act("step back", 0),
        ]
        for number in (28, 29, 30)
    },
    **{
        f"a file that was here first is named also if the network goes before command {number}": [
            Act("write", 0, number % 2),
            Act("add", 1, number % 2),
            Act("sync", 1),
            Act("sync", 0),
            Act("edit", 0, BASHRC, "append"),
            Act("sync, network", 0, number=number),
        ]
        for number in (0, 14)
    },
}


@pytest.mark.parametrize("acts", FOUND.values(), ids=FOUND.keys())
def test_what_was_found_once_does_not_come_back(copy: Path, acts: Sequence[Act]) -> None:
    assert story(copy, 2, acts) is None
