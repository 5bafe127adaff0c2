"""What the documentation says can be checked is checked."""

import argparse
import ast
import re
import runpy
import tomllib
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from gitopsd.cli import __main__ as cli
from gitopsd.config import TimeoutConfig
from gitopsd.control.limits import Limits
from gitopsd.daemon import herald, standby
from gitopsd.events import MESSAGE_IDS
from gitopsd.secrets import views
from gitopsd.tools import jj

ROOT = Path(__file__).parents[2]
DOCS = ROOT / "docs"
GENERATOR = runpy.run_path(str(DOCS / "generate.py"))
PAGES: dict[str, Callable[[], str]] = GENERATOR["PAGES"]
TEXTS = [*sorted(DOCS.rglob("*.md")), *(ROOT / name for name in ("README.md", "CHANGELOG.md", "CONTRIBUTING.md"))]
TEXTS.append(ROOT / "packaging" / "README.md")
PARSER = cli._parser()
ALERTS = ("alerts.yml", "alerts.test.yml")
LEVELS = {"debug", "info", "warning", "error", "critical", "say"}


def name_of(path: Path) -> str:
    return str(path.relative_to(ROOT))


def calls() -> Iterator[ast.Call]:
    for file in sorted((ROOT / "gitopsd").rglob("*.py")):
        for node in ast.walk(ast.parse(file.read_text(encoding="utf-8"))):
            if isinstance(node, ast.Call):
                yield node


@pytest.mark.parametrize("name", sorted(PAGES))
def test_a_generated_page_is_what_the_code_says(name: str) -> None:
    written = (ROOT / name).read_text(encoding="utf-8")
    assert written == PAGES[name](), "stale: PYTHONPATH=. python docs/generate.py"


@pytest.mark.parametrize("text", TEXTS, ids=name_of)
def test_links_lead_somewhere(text: Path) -> None:
    for target in re.findall(r"\]\(([^)#\s]+)[^)]*\)", text.read_text(encoding="utf-8")):
        if "://" not in target:
            assert (text.parent / target).exists(), target


def test_every_page_is_on_the_map() -> None:
    listed = (DOCS / "README.md").read_text(encoding="utf-8")
    for page in DOCS.rglob("*.md"):
        if page != DOCS / "README.md":
            assert f"]({page.relative_to(DOCS)})" in listed, page


ROOMS = sorted(path.name for path in ROOT.iterdir() if path.is_dir() and not path.name.startswith("."))
DOTTED = re.compile(r"`((?:gitopsd\.)?(?:[a-z_]+\.)*[A-Z][a-z]\w+\.[a-z_]+|(?:policy|machine|types)\.[a-z_]+)`")


@pytest.mark.parametrize("text", TEXTS, ids=name_of)
def test_files_that_are_named_exist(text: Path) -> None:
    for path in re.findall(rf"`((?:{'|'.join(ROOMS)})/(?!HOST|OLD)[\w./*-]*)`", text.read_text(encoding="utf-8")):
        assert list(ROOT.glob(path)), path


def test_what_the_code_calls_something_is_called_so_on_the_pages() -> None:
    """`Store.advance`, `policy.choose`: the last word is defined in the code, in a class or room of that name."""
    defined = set()
    for file in (*(ROOT / "gitopsd").rglob("*.py"), *(ROOT / "tests/scale").glob("*.py")):
        tree = ast.parse(file.read_text(encoding="utf-8"))
        rooms = {file.stem, file.parent.name}
        for node in tree.body:
            if isinstance(node, ast.ClassDef):
                for each in ast.walk(node):
                    if isinstance(each, ast.FunctionDef | ast.AsyncFunctionDef):
                        defined.add(f"{node.name}.{each.name}")
                    elif isinstance(each, ast.AnnAssign):
                        defined.add(f"{node.name}.{ast.unparse(each.target).removeprefix('self.')}")
            elif isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
                defined |= {f"{room}.{node.name}" for room in rooms}
    named = {name for text in TEXTS for name in DOTTED.findall(text.read_text(encoding="utf-8"))}
    assert len(named) > 5
    assert named <= defined, named - defined


def test_every_command_of_ours_that_a_page_or_a_message_names_can_be_typed() -> None:
    """Its verb and its options are those of the parser; other words may stand for something."""
    named = [
        (name_of(text), line)
        for text in TEXTS
        for line in re.findall(
            r"(?:^ +|`|\$ )(?:sudo )?gitopsctl ([a-z][^`\n]+)", text.read_text("utf-8"), re.MULTILINE
        )
    ]
    assert len(named) > 100
    for file in sorted((ROOT / "gitopsd").rglob("*.py")):
        for node in ast.walk(ast.parse(file.read_text(encoding="utf-8"))):
            said = pattern(node) if isinstance(node, ast.expr) else ""
            named += [
                (name_of(file), line) for line in re.findall(r"(?:^|`|[:;,] |sudo |or )gitopsctl ([a-z][^`\n]+)", said)
            ]
    for where, line in named:
        parser: argparse.ArgumentParser = PARSER
        words = re.split(r" +#|[;,]|\. ", line)[0].split()
        while words and (verbs := [each for each in parser._actions if isinstance(each, argparse._SubParsersAction)]):
            word = words.pop(0).strip("[]")
            assert set(word.split("|")) <= set(verbs[0].choices), f"{where}: gitopsctl {line}"
            parser = verbs[0].choices[word.split("|")[0]]
        for word in re.findall(r"(?<!\S)\[?(--?[a-z][a-z-]*)", " ".join(words)):
            assert word in parser._option_string_actions, f"{where}: gitopsctl {line}"


# Told as a line with the time of the next try, and to nobody who could type anything.
TOLD_OTHERWISE = {"gitopsd/tools/receivers.py"}
ERRORS = {"Failed", "Absent", "ToolMissing", "Rejected", "PersonNeeded", "Suspended", "ConfigError", "NotPermitted"}


def test_every_error_that_waiting_does_not_mend_says_what_it_means_and_what_to_type() -> None:
    """What is transient is tried again, and its retry says so. Who may not do something is told what was not done."""
    found = 0
    for file in sorted((ROOT / "gitopsd").rglob("*.py")):
        for node in ast.walk(ast.parse(file.read_text(encoding="utf-8"))):
            if isinstance(node, ast.Call) and isinstance(node.func, ast.Name) and node.func.id in ERRORS:
                found += 1
                given = {keyword.arg for keyword in node.keywords}
                wanted = {"advice"} if node.func.id in {"NotPermitted", "Suspended"} else {"meaning", "advice"}
                assert wanted <= given or name_of(file) in TOLD_OTHERWISE, f"{name_of(file)}:{node.lineno}"
    assert found > 100


@pytest.mark.parametrize(
    ("page", "said", "figures"),
    [
        ("explanation/architecture.md", "{:g} s that it ran on", (standby.HOLD,)),
        ("explanation/architecture.md", "has not run on for so long within {:g} minutes", (standby.LIMIT / 60,)),
        ("explanation/architecture.md", "started more than {} times", ({3: "three"}[standby.LIVES],)),
        ("how-to/set-up-dotfiles.md", "more than {} MiB", (jj.NEW_FILE_LIMIT >> 20,)),
        ("how-to/move-secrets-to-sops.md", "{} MiB of what is unpacked", (views._UNPACKED >> 20,)),
        ("how-to/monitor.md", "{:g} s, 2 s, 4 s and so on up to {:g} min", (herald._FIRST, herald._LONGEST / 60)),
        ("benchmarks.md", "{} connections each, {} for all", (Limits().per_user, Limits().connections)),
        ("explanation/scale.md", "`push` may take {:g} s", (TimeoutConfig().push,)),
    ],
)
def test_a_figure_on_a_page_is_the_one_in_the_code(page: str, said: str, figures: tuple[object, ...]) -> None:
    assert said.format(*figures) in " ".join((DOCS / page).read_text(encoding="utf-8").split())


def test_every_target_of_make_that_a_page_names_is_there() -> None:
    targets = set(re.findall(r"^([a-z]+):", (ROOT / "Makefile").read_text(encoding="utf-8"), re.MULTILINE))
    named = {
        name
        for text in TEXTS
        for name in re.findall(r"(?:`|^ +)make ([a-z]+)(?:`|$)", text.read_text("utf-8"), re.MULTILINE)
    }
    assert {"demo", "test", "bench", "crashes"} <= named <= targets


def test_every_option_that_a_page_names_is_one_of_the_configuration() -> None:
    written = (DOCS / "reference" / "configuration.md").read_text(encoding="utf-8")
    options = set(re.findall(r"^\| `([a-zA-Z_.]+)` \|", written, re.MULTILINE))
    sections = "|".join(sorted({option.partition(".")[0] for option in options if "." in option}))
    for text in TEXTS:
        for name in re.findall(rf"`((?:{sections})\.[a-z_.]+)(?: = [^`]*)?`", text.read_text(encoding="utf-8")):
            there = name in options or any(option.startswith(f"{name}.") for option in options)
            assert there or name.startswith("config.system."), f"{name_of(text)}: {name}"


def test_the_architecture_names_every_room() -> None:
    text = (DOCS / "explanation" / "architecture.md").read_text(encoding="utf-8")
    for entry in (ROOT / "gitopsd").iterdir():
        if entry.name in {"__pycache__", "__init__.py", "py.typed"}:
            continue
        assert entry.name in text, entry


def test_the_lines_that_people_grep_for_are_those_that_the_steps_say() -> None:
    said = set()
    for file in (ROOT / "gitopsd" / "steps").glob("*.py"):
        for node in ast.walk(ast.parse(file.read_text(encoding="utf-8"))):
            if isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute) and node.func.attr == "line":
                said.add(pattern(node.args[0]))
    listed = re.findall(
        r"^\| `([^`]+)` \|", (DOCS / "reference" / "lines.md").read_text(encoding="utf-8"), re.MULTILINE
    )
    assert set(listed) == said - {""}


# What people's scripts have grepped for since before gitopsd. Another spelling breaks them, whatever the pages say.
PROMISED_LINES = {
    "Fetching remote changes...",
    "Warning: Could not fetch (no network?)",
    "Capturing current dotfiles...",
    "Successfully pushed changes",
    "Pulling latest nix-config...",
    "=== Validating NixOS Build ===",
    "=== Build Validation PASSED ===",
    "=== Build Validation FAILED ===",
    "Deployment aborted",
    "=== Deploying New Configuration ===",
    "=== Deployment Successful ===",
    "Config changes pushed successfully",
}


def test_the_lines_that_were_promised_are_still_spelled_so() -> None:
    page = (DOCS / "reference" / "lines.md").read_text(encoding="utf-8")
    assert set(re.findall(r"^\| `([^`]+)` \|", page, re.MULTILINE)) >= PROMISED_LINES


def pattern(said: ast.expr) -> str:
    """The text of a line, with `…` for what is filled in; empty if all of it is."""
    match said:
        case ast.Constant(value=str(text)):
            return text
        case ast.JoinedStr(values=parts):
            return "".join(str(part.value) if isinstance(part, ast.Constant) else "…" for part in parts)
        case _:
            return ""


def test_the_journal_page_knows_every_field() -> None:
    used = {
        keyword.arg
        for call in calls()
        if (isinstance(call.func, ast.Attribute) and call.func.attr in LEVELS)
        or (isinstance(call.func, ast.Name) and call.func.id in LEVELS)
        for keyword in call.keywords
        if keyword.arg is not None
    }
    assert used - {"exc_info", "event"} <= set(GENERATOR["FIELDS"])


def test_every_message_id_is_explained_once_and_its_entry_says_what_to_do() -> None:
    entries = GENERATOR["catalog"]()
    assert set(entries) == set(MESSAGE_IDS.values())
    text = (ROOT / "packaging" / "gitopsd.catalog").read_text(encoding="utf-8")
    assert text.count("\n-- ") == len(entries)
    for subject, words in entries.values():
        assert len(subject) < 80
        assert "\n    " in words or "There is nothing to do" in words


def test_commands_that_the_catalog_and_the_alerts_name_exist() -> None:
    named = []
    for file in ("gitopsd.catalog", "monitoring/alerts.yml"):
        text = (ROOT / "packaging" / file).read_text(encoding="utf-8").replace("@GITOPSD_CYCLE@", "1")
        named += re.findall(r"gitopsctl ((?:(?:[a-z-]+|1|FILE)\b ?)+)", text.replace("CYCLE", "1"))
    assert len(named) > 20
    for words in named:
        assert PARSER.parse_args(words.split()).run, words


def test_every_alert_has_a_test_of_when_it_is_told() -> None:
    rules, tests = ((ROOT / "packaging/monitoring" / name).read_text(encoding="utf-8") for name in ALERTS)
    for name in re.findall(r"- alert: (\w+)", rules):
        assert f"- alertname: {name}\n" in tests, name
        assert f"alertname: {name}, eval_time" in tests, f"{name}: and of when it is not"


# Procedures that no test types from the page, with the test that does the same; what a page needs and the lab has not is
# said on the page.
DONE_ELSEWHERE = {
    "how-to/install-on-nixos.md": "tests/tools/test_nixmodule.py",
    "how-to/monitor.md": "tests/e2e/test_operations.py",
    "how-to/reboot-by-policy.md": "tests/e2e/test_reboot.py",
    "how-to/require-signatures.md": "tests/tools/test_signatures.py",
}


def test_every_procedure_is_typed_from_its_page_or_done_by_a_test_that_is_named() -> None:
    tests = [*(ROOT / "tests/e2e").glob("test_*.py"), *(ROOT / "tests/tools").glob("test_*.py")]
    typed = set(re.findall(r"(?:how-to|tutorial)/[\w-]+\.md", "".join(path.read_text("utf-8") for path in tests)))
    pages = {str(path.relative_to(DOCS)) for room in ("how-to", "tutorial") for path in (DOCS / room).glob("*.md")}
    assert pages - typed == set(DONE_ELSEWHERE)
    assert all((ROOT / path).exists() for path in DONE_ELSEWHERE.values())


def test_fields_that_the_catalog_fills_in_are_fields_that_we_write() -> None:
    text = (ROOT / "packaging" / "gitopsd.catalog").read_text(encoding="utf-8")
    assert set(re.findall(r"@(\w+)@", text)) <= {GENERATOR["field"](name) for name in GENERATOR["FIELDS"]}


def test_the_journal_page_knows_every_event() -> None:
    used = {
        call.args[0].value
        for call in calls()
        if isinstance(call.func, ast.Attribute)
        and call.func.attr in LEVELS
        and call.args
        and isinstance(call.args[0], ast.Constant)
    }
    assert not used & set(MESSAGE_IDS), "named by its constant, so that it cannot be misspelt"


def test_every_dependency_has_its_reason() -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    wanted = [*project["dependencies"], *project["optional-dependencies"]["dev"]]
    text = (DOCS / "explanation" / "dependencies.md").read_text(encoding="utf-8")
    for requirement in wanted:
        name = re.split(r"[<>=\[ ]", requirement)[0]
        assert f"| {name} |" in text, name


def test_the_page_for_other_distributions_names_every_package_that_the_daemon_imports() -> None:
    named = set(re.findall(r"python3-([a-z-]+)", (DOCS / "how-to/run-on-another-distribution.md").read_text("utf-8")))
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    wanted = {re.split(r"[>=]", each)[0].lower() for each in project["dependencies"]}
    assert named == wanted - {"rich", "pygobject"} | {"gi"}  # rich is the demo's; PyGObject has another name there
