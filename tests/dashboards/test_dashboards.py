"""Every panel of the boards: structure of the JSON, and its queries against a real Prometheus with constructed samples.

The samples are constructed, one set for each source of energy; no Grafana runs here.
"""

import json
import re
import socket
import subprocess
import time
from collections.abc import Iterator
from typing import Any

import pytest
import requests
import yaml
from grafana_foundation_sdk.cog.encoder import JSONEncoder
from grafana_foundation_sdk.cog.plugins import register_default_plugins
from grafana_foundation_sdk.models.dashboard import Dashboard

from hardwatt.config.settings import ROOT
from hardwatt.core.process import spawn
from hardwatt.core.wait import wait
from tests.gitops.conftest import find_tool

GRAFANA = ROOT / "clusters/base/monitoring/grafana"
BOARDS = {path.stem: json.loads(path.read_text()) for path in sorted((GRAFANA / "dashboards").glob("*.json"))}
SECONDS = 180
CASES = ("rapl", "modelled", "rapl with kepler", "modelled with kepler")
"""The last is the embedded node, on which Kepler's figures are not valid."""

Panels = list[tuple[str, dict[str, Any]]]


def panels(kind: str = "") -> Panels:
    return [(name, one) for name, board in BOARDS.items() for one in board["panels"] if kind in ("", one["type"])]


def queries() -> list[Any]:
    found = [(name, one["title"], t["expr"]) for name, one in panels() for t in one.get("targets", [])]
    found += [(name, a["name"], a["expr"]) for name, board in BOARDS.items() for a in board["annotations"]["list"]]
    return [pytest.param(*row, id=f"{row[0]}: {row[1]} {number}") for number, row in enumerate(found)]


def empty(case: str, expr: str) -> bool:
    """Return whether a query should have no answer on such a machine."""
    if "kepler_" in expr:
        return case != "rapl with kepler"
    return case.startswith("modelled") and ("dram" in expr or "_core_" in expr)


def constructed(case: str) -> dict[str, tuple[float, float]]:
    """Series -> (first value, what it gains a second)."""
    source = case.split()[0]
    folder = "intel-rapl:0" if source == "rapl" else "synthetic-model:0"
    cpu = "procstat" if source == "rapl" else "cgroup"
    zone = f'node="n",index="0",path="/host/sys/class/powercap/{folder}"'
    used = 'node_name="n",pod_namespace="flux-system",pod_name="source-controller-1"'
    old = 'node_name="n",pod_name="source-controller-1",pod_namespace="flux-system",attribution="cgroup"'
    found = {
        f"node_rapl_package_joules_total{{{zone}}}": (10.0, 40.0),
        f'hardwatt_meter_info{{node="n",source="{source}",model="generic",cpu="{cpu}"}}': (1.0, 0.0),
        'hardwatt_node_cpu_seconds_total{node="n"}': (5.0, 2.0),
        'hardwatt_node_cpus{node="n"}': (8.0, 0.0),
        'hardwatt_unit_cpu_seconds_total{node="n",unit="hardwatt-git.service"}': (0.0, 0.01),
        'hardwatt_meter_ticks_total{node="n"}': (0.0, 10.0),
        'hardwatt_meter_missed_ticks_total{node="n"}': (0.0, 0.0),
        'hardwatt_meter_cpu_seconds_total{node="n"}': (0.0, 0.004),
        f"hardwatt:pod_cpus_used{{{used}}}": (0.1, 0.0),
        'hardwatt:node_cpus_used{node_name="n"}': (2.0, 0.0),
        'hardwatt:zone_watts{node_name="n",zone="package"}': (40.0, 0.0),
        'controller_runtime_reconcile_total{controller="kustomization",result="success"}': (0.0, 0.1),
        'up{job="meter",node="n"}': (1.0, 0.0),
        'hardwatt_run{run="p001-1-pull",arm="pull",phase="window"}': (1.0, 0.0),
        f"pod_curr_energy_in_pkg_millijoule{{{old}}}": (6000.0, 0.0),
        f"pod_curr_dynamic_energy_millijoule{{{old}}}": (1500.0, 0.0),
        'node_curr_energy_in_pkg_joule{node_name="n",instance="n"}': (120.0, 0.0),
    }
    if source == "rapl":
        found[f"node_rapl_core_joules_total{{{zone}:0}}".replace('":0', ':0"')] = (1.0, 20.0)
        found[f"node_rapl_dram_joules_total{{{zone}:1}}".replace('":1', ':1"')] = (1.0, 4.0)
        found[f"pod_curr_energy_in_dram_millijoule{{{old}}}"] = (600.0, 0.0)
    if "kepler" in case:
        kepler = 'node_name="n",pod_name="source-controller-1",pod_namespace="flux-system",zone="package"'
        found['kepler_node_cpu_watts{node_name="n",zone="package",path="p"}'] = (40.0, 0.0)
        found[f'kepler_pod_cpu_watts{{{kepler},state="running"}}'] = (2.0, 0.0)
    return found


def as_grafana_asks(expr: str) -> str:
    """Put in the range that Grafana takes at the lab's scrape interval: four scrapes."""
    return expr.replace("$__rate_interval", "60s")


def free_port() -> int:
    with socket.socket() as sock:
        sock.bind(("127.0.0.1", 0))
        return int(sock.getsockname()[1])


@pytest.fixture(scope="module", params=CASES)
def server(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[tuple[str, str, float]]:
    """Yield (case, URL, moment) of a Prometheus whose blocks promtool made of the constructed samples."""
    prometheus, promtool = find_tool("prometheus"), find_tool("promtool")
    folder, end = tmp_path_factory.mktemp("prometheus"), float(int(time.time()) - 60)
    lines = [
        f"{series} {first + gain * second} {end - SECONDS + second}"
        for series, (first, gain) in constructed(request.param).items()
        for second in range(SECONDS + 1)
    ]
    (folder / "samples.txt").write_text("\n".join([*lines, "# EOF", ""]))
    made = [promtool, "tsdb", "create-blocks-from", "openmetrics", str(folder / "samples.txt"), str(folder / "data")]
    done = subprocess.run(made, capture_output=True, text=True)
    assert done.returncode == 0, done.stdout + done.stderr
    (folder / "prometheus.yaml").write_text("{}")
    port = free_port()
    process = spawn(
        [prometheus, f"--config.file={folder}/prometheus.yaml", f"--storage.tsdb.path={folder}/data",
         f"--web.listen-address=127.0.0.1:{port}"],
        log=folder / "log",
    )  # fmt: skip
    url = f"http://127.0.0.1:{port}"
    try:
        wait(lambda: ready(url), lambda answer: answer, what="Prometheus", timeout=60, delay=0.2)
        yield request.param, url, end
    finally:
        process.stop()


def ready(url: str) -> bool:
    try:
        return requests.get(f"{url}/-/ready", timeout=5).status_code == 200
    except requests.RequestException:
        return False


@pytest.mark.mirror
@pytest.mark.parametrize(("board", "title", "expr"), queries())
def test_each_query_answers_where_it_should(server: tuple[str, str, float], board: str, title: str, expr: str) -> None:
    case, url, moment = server
    params: dict[str, str] = {"query": as_grafana_asks(expr), "time": str(moment)}
    answer = requests.get(f"{url}/api/v1/query", params=params, timeout=20).json()
    assert answer["status"] == "success", answer
    found = answer["data"]["result"]
    assert bool(found) is not empty(case, expr), f"{board}: {title} on {case}: {found}"
    assert not [row for row in found if row["value"][1] in ("NaN", "+Inf", "-Inf")]


@pytest.mark.mirror
def test_watts_of_a_namespace_are_its_share(server: tuple[str, str, float]) -> None:
    """0.1 of 2 CPUs of 40 W."""
    _, url, moment = server
    (expr,) = [
        as_grafana_asks(t["expr"])
        for _, one in panels()
        if one["title"] == "Watts by namespace (recorder)"
        for t in one["targets"]
    ]
    params: dict[str, str] = {"query": expr, "time": str(moment)}
    (row,) = requests.get(f"{url}/api/v1/query", params=params, timeout=20).json()["data"]["result"]
    assert float(row["value"][1]) == pytest.approx(2.0, rel=0.01)


def lost(given: Any, read: Any, path: str = "") -> list[str]:
    """Return where what was read and written again differs from what was given; defaults that came in are no loss."""
    if isinstance(given, dict):
        inner = [
            (f"{path}/{key}", value, read.get(key) if isinstance(read, dict) else None) for key, value in given.items()
        ]
    elif isinstance(given, list) and isinstance(read, list) and len(given) == len(read):
        inner = [(f"{path}/{number}", *pair) for number, pair in enumerate(zip(given, read, strict=True))]
    else:
        return [] if given == read else [path]
    return [one for where, left, right in inner for one in lost(left, right, where)]


def through_the_schema(board: dict[str, Any]) -> Any:
    """Read a board with grafana-foundation-sdk (made from Grafana's dashboard schema) and write it again."""
    register_default_plugins()
    return json.loads(json.dumps(Dashboard.from_json(board), cls=JSONEncoder))


@pytest.mark.parametrize("name", BOARDS)
def test_a_board_is_what_grafanas_published_schema_knows(name: str) -> None:
    """Every field survives: an unknown one, one in the wrong place or of another shape would be lost."""
    # An annotation's own keys for Prometheus are the data source's, which the schema leaves open.
    own = {"step", "titleFormat", "textFormat"}
    found = lost(BOARDS[name], through_the_schema(BOARDS[name]))
    assert [path for path in found if not ("/annotations/list/" in path and path.rpartition("/")[2] in own)] == []


def test_the_schema_notices_a_field_that_it_does_not_know() -> None:
    board = json.loads(json.dumps(BOARDS["lab-overview"]))
    board["panels"][0]["gridpos"] = board["panels"][0].pop("gridPos")
    assert "/panels/0/gridpos/x" in lost(board, through_the_schema(board))


@pytest.mark.parametrize("name", BOARDS)
def test_structure_of_a_board(name: str) -> None:
    """What the schema does not say: what a file provider needs, unique ids, panels that do not overlap."""
    board = BOARDS[name]
    assert {"uid", "title", "schemaVersion", "panels", "time", "templating", "annotations"} <= set(board)
    assert "id" not in board and "__inputs" not in board
    ids = [one["id"] for one in board["panels"]]
    assert len(set(ids)) == len(ids)
    used: set[tuple[int, int]] = set()
    for one in board["panels"]:
        place = one["gridPos"]
        assert place["x"] + place["w"] <= 24
        cells = {(x, y) for x in range(place["x"], place["x"] + place["w"])
                 for y in range(place["y"], place["y"] + place["h"])}  # fmt: skip
        assert not cells & used, one["title"]
        used |= cells
        assert one["type"] in ("stat", "timeseries", "text")
        references = [t["refId"] for t in one.get("targets", [])]
        assert len(set(references)) == len(references)


@pytest.mark.parametrize("name", BOARDS)
def test_each_board_says_its_source_of_energy(name: str) -> None:
    assert any("hardwatt_meter_info" in t["expr"] and "source" in t["expr"]
               for one in BOARDS[name]["panels"] for t in one.get("targets", []))  # fmt: skip


def test_keplers_panels_stand_beside_the_sentence_that_they_are_not_valid_everywhere() -> None:
    for name in {name for name, one in panels() if "kepler_" in json.dumps(one)}:
        texts = [one["options"]["content"] for board, one in panels("text") if board == name]
        assert any("not valid on this machine" in text for text in texts)


def test_the_datasource_is_the_one_that_panels_name() -> None:
    (source,) = yaml.safe_load((GRAFANA / "datasource.yaml").read_text())["datasources"]
    assert source["url"] == "http://prometheus-k8s.monitoring.svc:9090"
    named = {t["datasource"]["uid"] for _, one in panels() for t in one.get("targets", [])}
    assert named == {source["uid"]}


def test_each_board_is_in_the_config_map() -> None:
    text = (GRAFANA / "kustomization.yaml").read_text()
    assert sorted(re.findall(r"dashboards/(.+)\.json", text)) == sorted(BOARDS)
