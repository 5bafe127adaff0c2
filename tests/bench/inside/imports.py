"""On the machine: the modules that importing a module of ours brings, except ours.

Standard input: {"module": name}; standard output: [name].
"""

from __future__ import annotations

import importlib
import json
import sys


def main() -> None:
    """Import it in this process and tell."""
    question = json.load(sys.stdin)
    importlib.import_module(question["module"])
    own = question["module"].partition(".")[0]
    others = [name for name in sys.modules if name.partition(".")[0] not in (own, "__main__")]
    # Overrides come with the repository that they belong to, and cannot be imported before it.
    json.dump([name for name in others if not name.startswith("gi.overrides.")], sys.stdout)


if __name__ == "__main__":
    main()
