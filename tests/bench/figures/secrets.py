"""What the gate finds, beside each scanner alone, and what a look at one edited file costs."""

from __future__ import annotations

import functools
import importlib
import tempfile
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import corpus
from bench.figure import Figure, Measure, Want
from bench.place import Place
from corpus import held_out, other_forms

Lines = list[list[int]]
SEEDS = (1, 2, 3)


def figures(place: Place) -> list[Figure]:
    """Measure on generated dotfiles, each seed a run."""
    times: dict[str, list[float]] = {}
    made = [
        *_judged(place, "", [(corpus.planted(seed), corpus.decoys(seed)) for seed in SEEDS], times, required=True),
        *_judged(
            place,
            ", by other forms",
            [(other_forms.planted(seed), other_forms.decoys(seed)) for seed in SEEDS],
            times,
            required=False,
        ),
        *_judged(
            place,
            ", held out",
            [(held_out.planted(seed), held_out.decoys(seed)) for seed in SEEDS],
            times,
            required=True,
        ),
    ]
    timed = [
        Figure(
            name=f"a look at one edited file: {name}",
            unit="ms",
            values=values,
            floor_name=f"{_scanner_of(name)} alone",
            floor=times[_scanner_of(name)],
        )
        for name, values in times.items()
        if _scanner_of(name)
    ]
    return [*made, *timed]


def _scanner_of(name: str) -> str:
    """The scanner that a gate asks; empty for what is no gate."""
    return name.removeprefix("gate with ") if name.startswith("gate with ") else ""


def _judged(
    place: Place,
    of: str,
    sets: Sequence[tuple[list[corpus.Sample], list[corpus.Sample]]],
    times: dict[str, list[float]],
    *,
    required: bool,
) -> Iterator[Figure]:
    missed: dict[str, list[float]] = {}
    false: dict[str, list[float]] = {}
    sizes = len(sets[0][0]), len(sets[0][1])
    for planted, decoys in sets:
        samples = [*planted, *decoys]
        told = place.inside("secrets.py", {"files": [(sample.path, sample.content) for sample in samples]})
        found: dict[str, Lines] = told["found"] | _others(samples)
        for name, lines in found.items():
            hits = [corpus.finds(sample, each) for sample, each in zip(planted, lines, strict=False)]
            wrong = [bool(each) for each in lines[len(planted) :]]
            missed.setdefault(name, []).append(100 * (1 - sum(hits) / len(planted)))
            false.setdefault(name, []).append(100 * sum(wrong) / len(decoys))
        for name, took in told["times"].items():
            times.setdefault(name, []).extend(took)
    for name, values in missed.items():
        ours = bool(_scanner_of(name)) and required
        yield Figure(
            name=f"secrets missed of {sizes[0]} planted{of}: {name}",
            unit="%",
            values=values,
            wants=(Want(measure=Measure.median, limit=5),) if ours else (),
        )
        yield Figure(
            name=f"decoys of {sizes[1]} taken for a secret{of}: {name}",
            unit="%",
            values=false[name],
            wants=(Want(measure=Measure.median, limit=2),) if ours else (),
        )


def _others(samples: list[corpus.Sample]) -> dict[str, Lines]:
    """What other scanners find, those that are installed beside the benchmark."""
    scanners: tuple[tuple[str, str, Callable[[Path], list[int]]], ...] = (
        ("detect-secrets", "detect_secrets", _detect_secrets),
        ("kingfisher", "kingfisher_sdk", _kingfisher),
    )
    found: dict[str, Lines] = {}
    for name, module, scan in scanners:
        try:
            importlib.import_module(module)
        except ImportError:
            continue
        with tempfile.TemporaryDirectory() as folder:
            lines = []
            for number, sample in enumerate(samples):
                file = Path(folder, str(number), sample.path)
                file.parent.mkdir(parents=True)
                file.write_text(sample.content, encoding="utf-8")
                lines.append(scan(file))
        found[name] = lines
    return found


def _detect_secrets(file: Path) -> list[int]:
    from detect_secrets import SecretsCollection  # type: ignore[import-not-found,unused-ignore]  # noqa: PLC0415
    from detect_secrets.settings import default_settings  # type: ignore[import-not-found,unused-ignore]  # noqa: PLC0415

    collection = SecretsCollection()
    with default_settings():
        collection.scan_file(str(file))
    return [secret.line_number for _, secret in collection]


@functools.cache
def _kingfisher_scanner() -> Any:
    import kingfisher_sdk  # type: ignore[import-not-found,unused-ignore]  # noqa: PLC0415

    return kingfisher_sdk.Scanner()  # which compiles its rules


def _kingfisher(file: Path) -> list[int]:
    scanner = _kingfisher_scanner()
    scanner.reset_dedup()
    return [found.location["line"] for found in scanner.scan(file.read_bytes())]
