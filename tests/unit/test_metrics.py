"""The figures: names, values, the file, the listener; and that what ships beside them names only what exists."""

import asyncio
import contextlib
import json
import re
import stat
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import msgspec
import pytest
from prometheus_client.parser import text_string_to_metric_families
from unit.fakes import OLD
from unit.test_cli_run import run
from unit.test_control_fakes import Daemon, detail, person, rejection, snapshot
from unit.world import World, upgraded

from gitopsd.config import MetricsConfig
from gitopsd.daemon import exposition
from gitopsd.daemon.exposition import Exposition
from gitopsd.daemon.metrics import Metrics
from gitopsd.types import BootFacts, Finding, LastGood, Outcome, Snapshot, SystemFacts

yaml: Any = pytest.importorskip("yaml")  # PyYAML; the lab's image has none

PACKAGING = Path(__file__).parents[2] / "packaging"


def metrics(value: Snapshot | None = None) -> Metrics:
    it = Metrics()
    it.show(lambda: value if value is not None else snapshot())
    return it


def samples(text: str) -> dict[tuple[str, tuple[tuple[str, str], ...]], float]:
    """Read it as Prometheus does."""
    return {
        (sample.name, tuple(sorted(sample.labels.items()))): sample.value
        for family in text_string_to_metric_families(text)
        for sample in family.samples
    }


def value(text: str, name: str, **labels: str) -> float | None:
    return samples(text).get((name, tuple(sorted(labels.items()))))


def test_what_is_true_now_is_told() -> None:
    secret = Finding(path=".netrc", line=1, rule="x", fingerprint="y")
    rain = msgspec.structs.replace(person("rain"), quarantined=(secret, msgspec.structs.replace(secret, line=2)))
    now = msgspec.structs.replace(
        snapshot(),
        people=(rain,),
        rejected=(rejection(),),
        blocked="look",
        system=SystemFacts(drift=True, reboot=("kernel",)),
        boot=BootFacts(failures=1, verdict="good", golden=OLD, golden_since=40.0),
        last_good=LastGood(sync=20.0, upgrade=10.0, contact=30.0),
    )
    text = metrics(now).text()
    assert value(text, "gitopsd_info", version=now.version, host="malphas") == 1
    assert value(text, "gitopsd_state", gitopsd_state="idle") == 1
    assert value(text, "gitopsd_state", gitopsd_state="switch") == 0
    assert value(text, "gitopsd_last_success_timestamp_seconds", kind="sync") == 20
    assert value(text, "gitopsd_last_success_timestamp_seconds", kind="upgrade") == 10
    assert value(text, "gitopsd_last_contact_timestamp_seconds") == 30
    assert value(text, "gitopsd_golden_timestamp_seconds") == 40
    assert value(metrics(snapshot()).text(), "gitopsd_golden_timestamp_seconds") == 0
    assert value(text, "gitopsd_quarantined_files", user="rain") == 1
    assert value(text, "gitopsd_parked_conflicts", user="rain") == len(rain.parked)
    for name in ("drift", "reboot_required", "blocked", "rejected_revisions", "boot_attempts", "boot_good"):
        assert value(text, f"gitopsd_{name}") == 1, name
    assert now.deployed is not None
    deployed = {"revision": now.deployed.revision, "toplevel": now.deployed.toplevel}
    assert value(text, "gitopsd_deployed_info", **deployed) == 1


def test_no_path_of_a_home_and_no_text_is_told() -> None:
    now = msgspec.structs.replace(snapshot(), blocked="BLOCKED", config_error="REFUSED")
    text = metrics(now).text()
    for words in (".bashrc", "dot_", "BLOCKED", "REFUSED", "/home", now.config_path):
        assert not words or words not in text


def test_every_series_that_can_be_known_is_there_before_anything_happens() -> None:
    text = metrics().text()
    assert value(text, "gitopsd_cycles_total", kind="upgrade", outcome="rolled-back") == 0
    assert value(text, "gitopsd_step_duration_seconds_count", step="build") == 0


async def test_cycles_and_steps_are_counted_and_measured(tmp_path: Path) -> None:
    world, meter = World(tmp_path), metrics()
    world.meter = meter
    summary, _ = await upgraded(world)
    assert summary.outcome is Outcome.success
    text = meter.text()
    assert value(text, "gitopsd_cycles_total", kind="upgrade", outcome="success") == 1
    for step in ("fetch", "capture", "push", "pull", "build", "switch", "verify"):
        assert value(text, "gitopsd_step_duration_seconds_count", step=step) == 1, step
    assert value(text, "gitopsd_step_duration_seconds_count", step="rollback") == 0
    assert (value(text, "gitopsd_step_duration_seconds_sum", step="verify") or 0) >= 3  # the soak


def test_the_file_is_replaced_in_one_step_and_readable_for_all(tmp_path: Path) -> None:
    path = tmp_path / "new" / "gitopsd.prom"
    exposition.write(path, "one\n")
    first = path.open()
    exposition.write(path, "two\n")
    with first:
        assert first.read() == "one\n"
    assert path.read_text() == "two\n"
    assert stat.S_IMODE(path.stat().st_mode) == 0o644
    assert [each.name for each in path.parent.iterdir()] == ["gitopsd.prom"]


async def changes() -> AsyncIterator[Snapshot]:
    yield snapshot()
    await asyncio.Event().wait()


async def test_a_place_that_cannot_be_written_to_stops_nothing(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    it = Exposition(metrics(), changes)
    it.use(MetricsConfig(textfile=str(tmp_path / "file" / "gitopsd.prom")))
    task = asyncio.create_task(it.run())
    await asyncio.sleep(0.05)
    assert not task.done()
    it.use(MetricsConfig(textfile=str(tmp_path / "gitopsd.prom")))
    for _ in range(100):
        await asyncio.sleep(0.02)
        if (tmp_path / "gitopsd.prom").exists():
            break
    assert "gitopsd_blocked 0.0" in (tmp_path / "gitopsd.prom").read_text()
    task.cancel()
    await asyncio.gather(task, return_exceptions=True)


async def ask(port: int, request: bytes) -> bytes:
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    writer.write(request)
    try:
        return await asyncio.wait_for(reader.read(), 20)
    except ConnectionResetError:  # closed with our bytes unread
        return b""
    finally:
        await end(writer)


async def end(writer: asyncio.StreamWriter) -> None:
    writer.close()
    with contextlib.suppress(OSError):
        await writer.wait_closed()


@pytest.fixture
async def port(unused_tcp_port: int, monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[int]:
    monkeypatch.setattr(exposition, "_PATIENCE", 0.5)
    it = Exposition(metrics(), changes)
    it.use(MetricsConfig(textfile="", listen=f"127.0.0.1:{unused_tcp_port}"))
    task = asyncio.create_task(it.run())
    for _ in range(100):
        try:
            await ask(unused_tcp_port, b"GET / HTTP/1.1\r\n\r\n")
            break
        except OSError:
            await asyncio.sleep(0.02)
    yield unused_tcp_port
    task.cancel()
    await asyncio.gather(task, return_exceptions=True)


async def test_the_listener_answers_what_prometheus_asks(port: int) -> None:
    head, _, body = (await ask(port, b"GET /metrics HTTP/1.1\r\nHost: x\r\n\r\n")).partition(b"\r\n\r\n")
    assert head.startswith(b"HTTP/1.1 200 OK\r\nContent-Type: text/plain; version=0.0.4")
    assert f"Content-Length: {len(body)}".encode() in head
    assert value(body.decode(), "gitopsd_blocked") == 0
    assert (await ask(port, b"POST /metrics HTTP/1.1\r\n\r\n")).startswith(b"HTTP/1.1 405 ")
    assert (await ask(port, b"GET /etc/passwd HTTP/1.1\r\n\r\n")).startswith(b"HTTP/1.1 404 ")
    assert b"\r\n\r\n" not in (await ask(port, b"HEAD / HTTP/1.1\r\n\r\n"))[:-4]


async def test_clients_that_never_finish_get_nothing_and_keep_nobody_out(port: int) -> None:
    stuck = [await asyncio.open_connection("127.0.0.1", port) for _ in range(20)]
    assert await ask(port, b"x" * 20_000) == b""
    for reader, _ in stuck:
        assert await asyncio.wait_for(reader.read(), 10) == b""
    assert (await ask(port, b"GET / HTTP/1.1\r\n\r\n")).startswith(b"HTTP/1.1 200")
    for _, writer in stuck:
        await end(writer)


async def test_gitopsctl_prints_them(tmp_path: Path) -> None:
    async with Daemon(tmp_path / "socket") as daemon:
        assert daemon._server is not None
        daemon._server._metrics = metrics().text
        ran = await run(daemon, "metrics")
        assert ran.code == 0
        assert value(ran.out, "gitopsd_blocked") == 0
        told = json.loads((await run(daemon, "metrics", "--json")).out)
        assert {"name": "gitopsd_blocked", "labels": {}, "value": 0.0} in told


# What ships beside them.


def known() -> set[str]:
    meter = metrics(msgspec.structs.replace(snapshot(), boot=BootFacts(golden=snapshot().system.current)))
    meter.finished(detail(5).summary)
    return {name for name, _ in samples(meter.text())}


def expressions(tree: Any) -> list[str]:
    """Every PromQL expression in a tree of lists and tables."""
    if isinstance(tree, dict):
        own = [tree["expr"]] if isinstance(tree.get("expr"), str) else []
        return own + [each for branch in tree.values() for each in expressions(branch)]
    if isinstance(tree, list):
        return [each for branch in tree for each in expressions(branch)]
    return []


@pytest.mark.parametrize("name", ["alerts.yml", "dashboard.json"])
def test_alerts_and_dashboard_name_only_figures_that_exist(name: str) -> None:
    text = (PACKAGING / "monitoring" / name).read_text(encoding="utf-8")
    found = expressions(json.loads(text) if name.endswith(".json") else yaml.safe_load(text))
    assert found
    named = {metric for each in found for metric in re.findall(r"gitopsd_\w+", each)}
    assert named <= known()


def test_every_alert_says_what_to_do() -> None:
    groups = yaml.safe_load((PACKAGING / "monitoring" / "alerts.yml").read_text(encoding="utf-8"))["groups"]
    for rule in (rule for group in groups for rule in group["rules"]):
        assert rule["labels"]["severity"] in ("critical", "warning")
        assert "gitopsctl" in rule["annotations"]["description"], rule["alert"]
