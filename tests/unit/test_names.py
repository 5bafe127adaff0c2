"""What people and scripts knew before gitopsd goes on as it was."""

import inspect
import tomllib
from pathlib import Path

import pytest
from unit.world import World

from gitopsd.cli import names
from gitopsd.cli.__main__ import _parser
from gitopsd.config import FilesConfig
from gitopsd.daemon.word import word_of, write_word
from gitopsd.types import CycleKind, Outcome, PersonFacts, SyncWord

ROOT = Path(__file__).parents[2]
SIX = {
    "success",
    "success-local-only",
    "fetch-failed",
    "push-failed",
    "conflicts-preserved",
    "not-initialized",
}


def test_each_name_is_installed_and_runs_its_verb() -> None:
    scripts = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]["scripts"]
    for name in names.VERBS:
        module, _, function = scripts[name].partition(":")
        assert module == "gitopsd.cli.names"
        assert f'main(VERBS["{name}"])' in inspect.getsource(getattr(names, function))


@pytest.mark.parametrize("name", sorted(names.VERBS))
def test_each_name_stands_for_a_verb_that_exists(name: str) -> None:
    assert callable(_parser().parse_args([*names.VERBS[name]]).run)


def person(user: str, word: SyncWord) -> PersonFacts:
    return PersonFacts(user=user, word=word)


@pytest.mark.parametrize("word", list(SyncWord))
def test_the_file_knows_only_the_six_words_of_before(word: SyncWord, tmp_path: Path) -> None:
    write_word(tmp_path / "chezmoi-sync" / "last-sync-status", [person("rain", word)])
    assert (tmp_path / "chezmoi-sync" / "last-sync-status").read_text().strip() in SIX


def test_the_word_of_a_host_is_that_of_the_person_who_is_worst_off() -> None:
    both = [person("rain", SyncWord.success), person("olga", SyncWord.conflicts_preserved)]
    assert word_of(both) is SyncWord.conflicts_preserved
    assert word_of([*both, person("ken", SyncWord.failed)]) is SyncWord.push_failed
    assert word_of([]) is None


def test_everybody_may_read_it_and_it_is_never_half_written(tmp_path: Path) -> None:
    file = tmp_path / "last-sync-status"
    write_word(file, [person("rain", SyncWord.success)])
    before = file.stat().st_ino
    write_word(file, [person("rain", SyncWord.fetch_failed)])
    assert file.read_text() == "fetch-failed\n"
    assert file.stat().st_ino != before  # replaced, not rewritten
    assert oct(file.stat().st_mode & 0o777) == "0o644"
    assert [path.name for path in tmp_path.iterdir()] == ["last-sync-status"]


async def test_the_word_is_there_when_a_follower_hears_of_the_end(tmp_path: Path) -> None:
    told: list[SyncWord | None] = []
    daemon = await World(tmp_path).start()
    daemon.loop._remembered = lambda memory: told.append(word_of(memory.people))
    outcome, _ = await daemon.end_of(await daemon.ask(CycleKind.sync))
    assert (outcome, told) == (Outcome.success, [SyncWord.success])
    await daemon.stop()


def test_the_file_is_where_it_was() -> None:
    assert FilesConfig().sync_status == "/var/lib/chezmoi-sync/last-sync-status"
