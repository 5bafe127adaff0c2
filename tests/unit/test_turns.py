"""What a person decides and what a cycle does take turns."""

import asyncio
from pathlib import Path

import pytest
from unit.fakes import FakeDotfiles
from unit.test_control_fakes import FakeChoices
from unit.world import World

from gitopsd.choices import person
from gitopsd.choices.person import PersonChoices
from gitopsd.choices.turn import InTurn, Turn
from gitopsd.config import DotfilesConfig
from gitopsd.errors import Cause, Failed, Transient
from gitopsd.ports import Choices, Dotfiles
from gitopsd.tools.process import Account, Processes
from gitopsd.types import Notice, PersonFacts

FACTS = PersonFacts(user="rain")
VERBS = ("fetch", "capture", "publish", "apply")


def _satisfies_the_ports(dotfiles: InTurn, real: PersonChoices, fake: FakeChoices) -> tuple[Dotfiles, Choices, Choices]:
    return dotfiles, real, fake  # mypy checks it


@pytest.mark.parametrize("verb", VERBS)
async def test_a_step_waits_for_its_turn(verb: str) -> None:
    turn, inner = Turn(), FakeDotfiles("rain")
    dotfiles = InTurn(inner, turn)
    assert dotfiles.user == "rain"
    extra = ("message",) if verb == "publish" else ()
    async with turn:
        step = asyncio.create_task(getattr(dotfiles, verb)(FACTS, *extra))
        await asyncio.sleep(0)
        assert inner.calls == []
    await step
    assert inner.calls == [verb]
    assert not turn.locked()


async def test_a_step_that_fails_gives_its_turn_back_and_keeps_the_notes() -> None:
    turn = Turn()
    turn.notes.append(Notice(what="backed up"))
    with pytest.raises(Failed):
        await InTurn(FakeDotfiles("rain", {"capture": Failed("x")}), turn).capture(FACTS)
    assert not turn.locked()
    told = await InTurn(FakeDotfiles("rain"), turn).capture(FACTS)
    assert [notice.what for notice in told.notices] == ["backed up"]
    assert not (await InTurn(FakeDotfiles("rain"), turn).capture(FACTS)).notices


async def test_a_choice_that_hangs_gives_its_turn_back(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    class Hanging(Processes):
        async def run(self, *_: object, **__: object) -> None:  # type: ignore[override]
            await asyncio.Event().wait()

    monkeypatch.setattr(person, "_LIMIT", 0.01)
    turn = Turn()
    account = Account(name="rain", uid=1, gid=1, groups=(1,), home=str(tmp_path))
    config = DotfilesConfig(user="rain", repo_url="x")
    choices = PersonChoices(Hanging(), config, host="a", turn=turn, now=lambda: 0.0, account=account)
    with pytest.raises(Transient) as hung:
        await choices.initialize()
    assert hung.value.cause is Cause.timeout
    assert not turn.locked()
    with pytest.raises(Failed, match="not set up on this host"):
        await choices.conflicts()


async def test_the_loop_knows_whose_choices_there_are(tmp_path: Path) -> None:
    daemon = await World(tmp_path).start()
    with pytest.raises(Failed, match="the dotfiles of ken are not kept in step"):
        daemon.loop.choices("ken")
    daemon.task.cancel()
    await asyncio.gather(daemon.task, return_exceptions=True)
    await daemon.store.close()
