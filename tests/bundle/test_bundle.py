"""Write, kill, go on, read, verify."""

import json
import os
from pathlib import Path
from typing import Any

import jsonschema
import numpy as np
import polars as pl
import pytest

from hardwatt.bundle import manifest as manifests
from hardwatt.bundle import tables
from hardwatt.bundle.checkout import provenance
from hardwatt.bundle.exposition import labels_of, parse_exposition
from hardwatt.bundle.manifest import Manifest, Plan, plan_sha256
from hardwatt.bundle.model import Check, Delivery, Edge, Provenance, RawBody, Run, SeriesSamples
from hardwatt.bundle.reader import Bundle
from hardwatt.bundle.writer import Writer
from hardwatt.core.errors import RefusedError, VerifyError
from hardwatt.testing.synthetic_bundle import Spec, make_bundle

PLAN: dict[str, Any] = {
    "schema_version": 1,
    "study": "push-vs-pull",
    "seed": 7,
    "arms": ["push", "pull"],
    "window_seconds": 60,
    "primary": {"outcome": "node_cpu_seconds", "unit": "CPU-seconds", "estimator": "mean paired difference"},
    "runs": [
        {"run_id": "r1", "block": 0, "position": 0, "arm": "push", "repeat": 0},
        {"run_id": "r2", "block": 0, "position": 1, "arm": "pull", "repeat": 0},
    ],
    "commits": 3,
}
WHENCE = Provenance(7, "modelled", "0.1", "abc", True, {"kubernetes": "v1"}, {"cpus": 2}, {"name": "generic"})


def run(run_id: str = "r1", **changes: Any) -> Run:
    values = {"block": 0, "position": 0, "arm": "push", "repeat": 0, "status": "done", "reason": ""}
    return Run(**{"run_id": run_id, **values, "t0_ms": 1000, "t1_ms": 61_000, **changes})


def samples(name: str, *values: float, **labels: str) -> SeriesSamples:
    ts = np.arange(len(values), dtype=np.int64) * 1000 + 1_790_000_000_123
    return SeriesSamples({"__name__": name, **labels}, ts, np.array(values))


def fill(writer: Writer) -> None:
    writer.add_samples("r1", "up", [samples("up", 1, 1, 0, job="b"), samples("up", 1, 1, job="a")])
    writer.add_raw("r1", "up", [RawBody("http://x/api/v1/query?query=up", 200, {"Content-Type": "json"}, '{"a": "ä"}')])
    writer.add_edge(Edge("r1", "start", 990, 1010, 1000, {'up{job="a"}': 1.0}))
    writer.add_deliveries(
        "r1", [Delivery("r1", 0, "abc", 2000, 5000, "ready"), Delivery("r1", 1, "d", 9, None, "late")]
    )
    writer.add_run(run(flags=("scrape gap", "late"), commits=2, ready=1))


def test_everything_comes_back_as_it_was_written(tmp_path: Path) -> None:
    writer = Writer.create(tmp_path / "b", PLAN, WHENCE)
    fill(writer)
    writer.add_run(run("r2", arm="pull", status="failed", reason="no pod", t1_ms=0))
    writer.add_checks([Check("swap off", "warning", "swap is on")])
    writer.finish()
    bundle = Bundle.open(tmp_path / "b")
    bundle.verify()
    assert bundle.runs == [
        run(flags=("scrape gap", "late"), commits=2, ready=1),
        run("r2", arm="pull", status="failed", reason="no pod", t1_ms=0),
    ]
    assert [row.ready_ms for row in bundle.deliveries] == [5000, None]
    assert bundle.edges[0].values == {'up{job="a"}': 1.0}
    assert bundle.raw("r1", "up")[0].body == '{"a": "ä"}'
    frame = bundle.samples("up", "r1").collect()
    assert frame.schema == {**tables.SAMPLES, "run_id": pl.String}
    assert [bundle.series[number]["job"] for number in frame["series_id"].unique().sort()] == ["b", "a"]
    assert frame["ts"].to_list()[:3] == [1_790_000_000_123, 1_790_000_001_123, 1_790_000_002_123]
    assert (bundle.metrics, bundle.plan.study) == (["up"], "push-vs-pull")
    assert bundle.plan.model_extra == {"commits": 3}
    assert bundle.manifest.checks[0].detail == "swap is on"
    assert bundle.manifest.plan_sha256 == plan_sha256(PLAN)
    assert (bundle.manifest.tool.git_sha, bundle.manifest.tool.dirty) == ("abc", True)


def test_equal_content_gives_equal_bytes(tmp_path: Path) -> None:
    for name in ("a", "b"):
        writer = Writer.create(tmp_path / name, PLAN, WHENCE)
        fill(writer)
        writer.finish()
    assert (tmp_path / "a/manifest.json").read_text() == (tmp_path / "b/manifest.json").read_text()


def test_a_killed_writer_goes_on(tmp_path: Path) -> None:
    path = tmp_path / "b"
    fill(Writer.create(path, PLAN, WHENCE))
    # Killed in the middle of the second run: samples, no row, and a temporary file.
    Writer.open(path, PLAN).add_samples("r2-killed", "up", [samples("up", 5, job="c")])
    (path / "samples/metric=up/run=r2-killed/.part.parquet.part").write_bytes(b"half")
    writer = Writer.open(path, PLAN)
    assert [one.run_id for one in writer.runs] == ["r1"]
    writer.add_samples("r2", "up", [samples("up", 7, job="a"), samples("up", 8, job="c")])
    writer.add_run(run("r2", arm="pull"))
    (path / ".runs.csv.x1y2").write_text("half")
    assert writer.finish().discarded == ["r2-killed"]
    assert not list(path.rglob(".*"))
    bundle = Bundle.open(path)
    bundle.verify()
    found = bundle.samples("up").collect()
    assert set(found["run_id"]) == {"r1", "r2"}
    jobs = {bundle.series[number]["job"] for number in bundle.samples("up", "r2").collect()["series_id"]}
    assert jobs == {"a", "c"}


def test_another_plan_is_refused(tmp_path: Path) -> None:
    Writer.create(tmp_path / "b", PLAN, WHENCE)
    Writer.open(tmp_path / "b", dict(reversed(list(PLAN.items()))))
    with pytest.raises(RefusedError, match="another plan"):
        Writer.open(tmp_path / "b", {**PLAN, "seed": 8})


def test_a_finished_bundle_is_not_written_again(tmp_path: Path) -> None:
    writer = Writer.create(tmp_path / "b", PLAN, WHENCE)
    fill(writer)
    writer.finish()
    with pytest.raises(RefusedError, match="finished"):
        Writer.open(tmp_path / "b")
    with pytest.raises(RefusedError, match="not empty"):
        Writer.create(tmp_path / "b", PLAN, WHENCE)
    with pytest.raises(RefusedError, match="not an unfinished bundle"):
        Writer.open(tmp_path)


def test_a_run_that_is_done_is_kept_and_a_failed_one_may_be_replaced(tmp_path: Path) -> None:
    writer = Writer.create(tmp_path / "b", PLAN, WHENCE)
    writer.add_run(run(status="failed", reason="gate"))
    writer.add_run(run())
    writer.add_run(run())
    with pytest.raises(RefusedError, match="is done"):
        writer.add_run(run(ready=9))
    with pytest.raises(RefusedError, match="is done"):
        writer.discard("r1")
    assert writer.runs == [run()]


def test_discard_removes_all_of_a_run(tmp_path: Path) -> None:
    writer = Writer.create(tmp_path / "b", PLAN, WHENCE)
    fill(writer)
    before = {path.name for path in (tmp_path / "b").rglob("*") if path.is_file()}
    writer.add_run(run("r2", status="failed", reason="x"))
    writer.add_samples("r2", "up", [samples("up", 1)])
    writer.add_raw("r2", "up", [])
    writer.add_edge(Edge("r2", "end", 1, 2, 1, {}))
    writer.add_deliveries("r2", [Delivery("r2", 0, "a", 1, None, "failed")])
    writer.discard("r2")
    assert {path.name for path in (tmp_path / "b").rglob("*") if path.is_file()} == before
    writer.finish()
    assert [row.run_id for row in Bundle.open(tmp_path / "b").deliveries] == ["r1", "r1"]


@pytest.mark.parametrize(
    ("harm", "message"),
    [
        (lambda path: (path / "runs.csv").write_text("x"), "runs.csv: checksum"),
        (lambda path: (path / "raw/r1/up.json.gz").unlink(), "up.json.gz: missing"),
        (lambda path: (path / "edges/r9.start.json").write_text("{}"), "r9.start.json: not in the manifest"),
        (lambda path: os.truncate(path / "samples/metric=up/run=r1/part.parquet", 20), "part.parquet: checksum"),
        (lambda path: (path / "plan.json").write_text(json.dumps({**PLAN, "seed": 8})), "plan.json: checksum"),
    ],
)
def test_verify_names_the_bad_file(tmp_path: Path, harm: Any, message: str) -> None:
    writer = Writer.create(tmp_path / "b", PLAN, WHENCE)
    fill(writer)
    writer.finish()
    harm(tmp_path / "b")
    with pytest.raises(VerifyError, match=message):
        Bundle.open(tmp_path / "b").verify()


def test_results_and_hidden_files_are_not_the_bundles(tmp_path: Path) -> None:
    writer = Writer.create(tmp_path / "b", PLAN, WHENCE)
    fill(writer)
    writer.finish()
    (tmp_path / "b/results").mkdir()
    (tmp_path / "b/results/results.json").write_text("{}")
    (tmp_path / "b/.DS_Store").write_text("")
    Bundle.open(tmp_path / "b").verify()


def test_what_is_no_bundle_says_so(tmp_path: Path) -> None:
    with pytest.raises(VerifyError, match="there is no bundle"):
        Bundle.open(tmp_path / "nowhere")
    with pytest.raises(VerifyError, match=r"no manifest\.json"):
        Bundle.open(tmp_path)
    Writer.create(tmp_path / "b", PLAN, WHENCE)
    with pytest.raises(VerifyError, match="not finished"):
        Bundle.open(tmp_path / "b")
    (tmp_path / "manifest.json").write_text('{"schema_version": 99}')
    with pytest.raises(VerifyError, match="schema version 99"):
        Bundle.open(tmp_path)
    (tmp_path / "manifest.json").write_text("{")
    with pytest.raises(VerifyError, match="is not JSON"):
        Bundle.open(tmp_path)


def test_a_fake_source_cannot_be_in_a_manifest(tmp_path: Path) -> None:
    writer = Writer.create(tmp_path / "b", PLAN, WHENCE)
    writer.finish()
    text = (tmp_path / "b/manifest.json").read_text().replace('"modelled"', '"fake"')
    (tmp_path / "b/manifest.json").write_text(text)
    with pytest.raises(VerifyError, match="source"):
        Bundle.open(tmp_path / "b")


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"arms": ["push"]}, "arms that are not listed: pull"),
        ({"seed": -1}, "seed"),
        ({"window_seconds": 0}, "window_seconds"),
        ({"runs": PLAN["runs"][:1] * 2}, "occurs twice"),
        ({"runs": [{**PLAN["runs"][0], "run_id": "../up"}]}, "run_id"),
        ({"primary": {}}, "primary.outcome"),
    ],
)
def test_a_wrong_plan_is_refused_before_anything_is_written(
    tmp_path: Path, change: dict[str, Any], message: str
) -> None:
    with pytest.raises(VerifyError, match=message):
        Writer.create(tmp_path / "b", {**PLAN, **change}, WHENCE)
    assert not (tmp_path / "b").exists()


def test_wrong_rows_cannot_be_made_or_added(tmp_path: Path) -> None:
    with pytest.raises(VerifyError, match="ends"):
        run(t1_ms=1000)
    with pytest.raises(VerifyError, match="run id"):
        run("../../etc")
    with pytest.raises(VerifyError, match="without a time"):
        Delivery("r1", 0, "a", 1, None, "ready")
    with pytest.raises(VerifyError, match="not a number"):
        Edge("r1", "start", 1, 2, 1, {"up": float("nan")})
    writer = Writer.create(tmp_path / "b", PLAN, WHENCE)
    with pytest.raises(VerifyError, match="not a metric name"):
        writer.add_samples("r1", "../up", [])
    with pytest.raises(VerifyError, match="another run"):
        writer.add_deliveries("r1", [Delivery("r2", 0, "a", 1, None, "late")])
    backwards = SeriesSamples({"__name__": "up"}, np.array([2, 1]), np.array([0.0, 0.0]))
    with pytest.raises(VerifyError, match="increasing order"):
        writer.add_samples("r1", "up", [backwards])


def test_asked_for_and_nothing_there_differs_from_never_asked_for(tmp_path: Path) -> None:
    writer = Writer.create(tmp_path / "b", PLAN, WHENCE)
    assert writer.add_samples("r1", "nothing", []) == 0
    writer.add_run(run())
    writer.finish()
    bundle = Bundle.open(tmp_path / "b")
    assert bundle.metrics == ["nothing"]
    assert bundle.samples("nothing").collect().is_empty()
    assert bundle.samples("never").collect().is_empty()


@pytest.mark.parametrize(("model", "name"), [(Manifest, "manifest"), (Plan, "plan")])
def test_the_committed_schema_is_the_classes(model: Any, name: str) -> None:
    committed = Path(manifests.__file__).with_name(f"{name}.schema.json").read_text()
    assert committed == manifests.json_schema(model)


def test_documents_validate_against_the_schemas(tmp_path: Path) -> None:
    make_bundle(tmp_path / "b", Spec(pairs=1, window_seconds=20))
    for name in ("manifest", "plan"):
        schema = json.loads(Path(manifests.__file__).with_name(f"{name}.schema.json").read_text())
        document = json.loads((tmp_path / f"b/{name}.json").read_text())
        jsonschema.validate(document, schema)
        document.pop("seed")
        with pytest.raises(jsonschema.ValidationError, match="seed"):
            jsonschema.validate(document, schema)


def test_the_synthetic_bundle_is_the_same_for_the_same_seed(tmp_path: Path) -> None:
    spec = Spec(pairs=2, window_seconds=20)
    first, second = make_bundle(tmp_path / "a", spec), make_bundle(tmp_path / "b", spec)
    assert first.values == second.values
    assert (first.path / "manifest.json").read_bytes() == (second.path / "manifest.json").read_bytes()
    Bundle.open(first.path).verify()


def test_exposition_text() -> None:
    page = (
        "# HELP a_total x\n# TYPE a_total counter\n"
        'a_total{unit="x y{}",path="C:\\\\d\\"q"} 1.5e3\n'
        "b_total 2 1790000000000\n\n"
        "other 3\n"
    )
    values = parse_exposition(page, ("a_", "b_"))
    assert list(values.values()) == [1500.0, 2.0]
    assert labels_of(next(iter(values))) == {"__name__": "a_total", "unit": "x y{}", "path": 'C:\\d"q'}
    with pytest.raises(VerifyError, match="line 2"):
        parse_exposition('a_total 1\nb_total{x="cut of')


def test_provenance_of_this_checkout() -> None:
    made = provenance(seed=1, source="rapl", host={"cpus": 2})
    assert made.source == "rapl"
    assert made.tool_version
    assert made.git_sha == "" or len(made.git_sha) == 40
