"""What the gate finds and what it lets pass, measured on generated dotfiles."""

import shutil
from pathlib import Path

import corpus
import pytest

from gitopsd.secrets.gate import RepositoryGate
from gitopsd.tools.process import Processes


@pytest.mark.parametrize("seed", [1, 2, 3])
async def test_of_planted_secrets_few_are_missed_and_of_decoys_few_are_taken_for_one(seed: int, tmp_path: Path) -> None:
    if shutil.which("gitleaks") is None:
        pytest.skip("needs gitleaks: run it in the lab's image, with `make tools`")
    planted, decoys = corpus.planted(seed), corpus.decoys(seed)
    assert len(planted) >= 60
    assert len({sample.kind for sample in planted}) >= 25
    assert len(decoys) >= 60
    gate = RepositoryGate(Processes(), None, str(tmp_path))
    files = [(sample.path, sample.content.encode()) for sample in (*planted, *decoys)]
    found = await gate.scan(files)
    missed = [
        sample.kind
        for sample, hits in zip(planted, found, strict=False)
        if not corpus.finds(sample, [hit.line for hit in hits])
    ]
    false = [sample.path for sample, hits in zip(decoys, found[len(planted) :], strict=True) if hits]
    assert len(missed) <= 0.05 * len(planted), missed
    assert len(false) <= 0.02 * len(decoys), false
