"""What the gate finds and what it lets pass, measured on generated dotfiles."""

from collections.abc import Sequence
from pathlib import Path

import corpus
import pytest
from corpus import held_out, other_forms

from gitopsd.secrets.gate import RepositoryGate
from gitopsd.tools.leak_scanner import Scanner
from gitopsd.tools.process import Processes


@pytest.mark.parametrize("seed", [1, 2, 3])
async def test_of_planted_secrets_few_are_missed_and_of_decoys_few_are_taken_for_one(
    seed: int, tmp_path: Path, scanners: Sequence[Scanner]
) -> None:
    planted, decoys = corpus.planted(seed), corpus.decoys(seed)
    assert len(planted) >= 60
    assert len({sample.kind for sample in planted}) >= 25
    assert len(decoys) >= 60
    missed, false = await judged(planted, decoys, tmp_path, scanners)
    assert len(missed) <= 0.05 * len(planted), missed
    assert len(false) <= 0.02 * len(decoys), false


async def test_so_it_is_with_forms_that_the_rules_were_not_made_on(tmp_path: Path, scanners: Sequence[Scanner]) -> None:
    planted, decoys = other_forms.planted(), other_forms.decoys()
    assert not {sample.content for sample in planted} & {sample.content for sample in corpus.planted()}
    missed, false = await judged(planted, decoys, tmp_path, scanners)
    assert len(missed) <= 0.05 * len(planted), missed
    assert len(false) <= 0.025 * len(decoys), false


@pytest.mark.parametrize("seed", [1, 2, 3])
async def test_so_it_is_with_forms_of_public_repositories(
    seed: int, tmp_path: Path, scanners: Sequence[Scanner]
) -> None:
    planted, decoys = held_out.planted(seed), held_out.decoys(seed)
    assert len(planted) >= 80
    assert len({sample.kind for sample in planted}) >= 30
    assert len(decoys) >= 120
    missed, false = await judged(planted, decoys, tmp_path, scanners)
    assert len(missed) <= 0.05 * len(planted), missed
    assert len(false) <= 0.02 * len(decoys), false


async def judged(
    planted: list[corpus.Sample], decoys: list[corpus.Sample], directory: Path, scanners: Sequence[Scanner]
) -> tuple[list[str], list[str]]:
    """The kinds of secrets that the gate does not find, and the decoys that it takes for one."""
    gate = RepositoryGate(Processes(), None, str(directory), scanners=scanners)
    found = await gate.scan([(sample.path, sample.content.encode()) for sample in (*planted, *decoys)])
    missed = [
        f"{sample.kind} in {sample.path}"
        for sample, hits in zip(planted, found, strict=False)
        if not corpus.finds(sample, [hit.line for hit in hits])
    ]
    return missed, [sample.path for sample, hits in zip(decoys, found[len(planted) :], strict=True) if hits]
