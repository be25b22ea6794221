"""Protocol and session: the identity of an experiment, apart from the machine and the hour."""

import json
import re
from pathlib import Path
from typing import Any

import pytest

from hardwatt.analysis.results import analysed
from hardwatt.bundle.manifest import Manifest, parse
from hardwatt.bundle.protocol import protocol_sha256, session_seed
from hardwatt.bundle.reader import Bundle
from hardwatt.config.lab import Lab
from hardwatt.core.errors import LabError, RefusedError, SettingsError, VerifyError
from hardwatt.experiment import operations, study_texts
from hardwatt.experiment.plan import preregistration, protocol_file
from hardwatt.experiment.plan.run_table import make_plan, make_session, stored_plan
from hardwatt.experiment.plan.study_model import Study, override
from hardwatt.experiment.run.journal import JOURNAL, Journal
from tests.experiment.simulated import Killed, SimulatedTestbed, opened

CODE = {"experiments/arms/push.py": "ab"}


def protocol(study: Study, **changes: Any) -> str:
    return make_plan(override(study, changes, "test"), seed=1, code=CODE).protocol_sha256


@pytest.mark.parametrize(
    ("key", "value"),
    [
        ("estimand.window_seconds", 77.0), ("estimand.done", "otherwise"), ("estimand.arms", {"push": "a"}),
        ("trace.commits", 2), ("trace.jitter_seconds", 0.5), ("primary.interval", "studentised bootstrap"),
        ("primary.confidence", 0.9), ("flux.interval_seconds", 9), ("gate.cpu_band_cores", 0.01),
        ("timing.phase_seconds", 99.0), ("design.order", "abba"), ("arms", ("pull", "push")), ("workload.copies", 2),
        ("primary.margin", {"value": 1, "unit": "CPU-ms per s", "because": "Nobody could notice it.", "plausible": 9}),
    ],
)  # fmt: skip
def test_whatever_changes_a_window_or_its_analysis_changes_the_protocol(study: Study, key: str, value: object) -> None:
    assert protocol(study, **{key: value}) != protocol(study)


@pytest.mark.parametrize(
    ("key", "value"),
    [("title", "x"), ("question", "x"), ("design.pairs", 9), ("design.max_repeats", 7), ("notes", ("x",))],
)
def test_words_and_numbers_of_pairs_are_not_part_of_the_protocol(study: Study, key: str, value: object) -> None:
    assert protocol(study, **{key: value}) == protocol(study)


def test_the_code_of_the_arms_is_part_of_the_protocol(study: Study) -> None:
    assert make_plan(study, seed=1, code={**CODE, "b": "c"}).protocol_sha256 != protocol(study)


def test_no_two_sessions_share_order_trace_or_phases(study: Study) -> None:
    plans = [make_session(study, session=number, pairs=8, code=CODE) for number in range(20)]
    assert len({plan.seed for plan in plans}) == 20
    assert len({plan.rows[0].phase_seconds for plan in plans}) == 20
    assert len({plan.rows[0].offsets for plan in plans}) == 20
    assert len({tuple(row.arm for row in plan.rows) for plan in plans}) > 12
    assert len({plan.protocol_sha256 for plan in plans}) == 1


def test_the_draws_of_a_session_follow_from_the_protocol_too(study: Study) -> None:
    other = override(study, {"primary.confidence": 0.9}, "test")
    seeds = [make_session(each, session=4, pairs=2, code=CODE).seed for each in (study, study, other)]
    assert seeds[0] == seeds[1] != seeds[2]
    assert session_seed("a" * 64, 4) == 401814035


def test_a_plan_names_protocol_and_session_and_comes_back(study: Study) -> None:
    plan = make_session(study, session=4, pairs=3, code=CODE)
    stored = json.loads(json.dumps(plan.to_dict()))
    assert (stored["session"], stored["protocol_sha256"]) == (4, plan.protocol_sha256)
    assert protocol_sha256(stored) == plan.protocol_sha256
    assert stored_plan(stored) == plan
    assert any(
        f"session 4 of the protocol {plan.protocol_sha256[:12]}" in line for line in preregistration.printed(plan, None)
    )
    assert f"Protocol SHA-256 `{plan.protocol_sha256}`, session 4" in preregistration.markdown(plan, None)


def test_a_plan_of_a_time_before_sessions_has_neither(study: Study) -> None:
    stored = make_plan(study, seed=4, code=CODE).to_dict()
    assert not {"session", "protocol_sha256"} & set(stored)
    assert protocol_sha256({"study": "x"}) == ""


def run(lab: Lab, testbed: SimulatedTestbed, study: str, **options: Any) -> Path:
    return operations.run(lab, study, open_testbed=lambda of: opened(testbed, of), **options)


def test_a_bundle_is_one_session_and_its_report_says_so(lab: Lab, tmp_path: Path) -> None:
    bundle = run(lab, SimulatedTestbed(tmp_path / "cluster.json"), "push-vs-pull", pairs=1, session=5)
    manifest = Bundle.open(bundle).manifest
    planned = operations.plan(lab, "push-vs-pull", pairs=1, session=5)
    assert (manifest.session, manifest.protocol_sha256, manifest.seed) == (5, planned.protocol_sha256, planned.seed)
    results = analysed(bundle)
    assert (results.study.session, results.study.protocol_sha256) == ("5", planned.protocol_sha256)
    assert any("this cluster, this hour" in limit.says for limit in results.limits)


def test_an_older_manifest_is_read_and_has_neither() -> None:
    data = {"tool": {"version": "1", "git_sha": "", "dirty": False}, "plan_sha256": "a" * 64, "seed": 1}
    old = parse(Manifest, {**data, "source": "modelled", "files": {}}, where="manifest")
    assert (old.session, old.protocol_sha256) == (None, None)


def test_a_session_is_drawn_and_a_seed_counts_as_one(lab: Lab) -> None:
    first, second = (operations.plan(lab, "push-vs-pull", pairs=1) for _ in range(2))
    assert first.session != second.session
    assert operations.plan(lab, "push-vs-pull", pairs=1, seed=8).session == 8
    assert operations.plan(lab, "push-vs-pull", pairs=1, session=0).session == 0
    with pytest.raises(SettingsError, match="exclude each other"):
        operations.plan(lab, "push-vs-pull", seed=8, session=8)


def test_another_session_is_refused_while_one_is_unfinished(lab: Lab, tmp_path: Path) -> None:
    testbed = SimulatedTestbed(tmp_path / "cluster.json", on=kill)
    with pytest.raises(Killed):
        run(lab, testbed, "push-vs-pull", pairs=1, session=5)
    again = SimulatedTestbed(tmp_path / "cluster.json")
    with pytest.raises(RefusedError, match="session 6, not 5"):
        run(lab, again, "push-vs-pull", pairs=1, session=6)
    assert Bundle.open(run(lab, again, "push-vs-pull", pairs=1, session=5)).manifest.session == 5


def kill(event: str) -> None:
    raise Killed


@pytest.fixture
def exported(lab: Lab, tmp_path: Path) -> Path:
    return study_texts.export(operations.plan(lab, "push-vs-pull", session=1), None, tmp_path / "protocol.json")


def test_a_protocol_is_run_elsewhere_as_a_session_of_its_own(lab: Lab, exported: Path, tmp_path: Path) -> None:
    bundle = run(lab, SimulatedTestbed(tmp_path / "cluster.json"), str(exported), pairs=1)
    planned = operations.plan(lab, "push-vs-pull", session=1)
    manifest = Bundle.open(bundle).manifest
    assert manifest.protocol_sha256 == planned.protocol_sha256
    assert manifest.session != 1
    assert operations.plan(lab, str(exported), session=1) == planned


def test_an_interrupted_protocol_is_resumed_whatever_the_checkouts_studies(
    lab: Lab, exported: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with pytest.raises(Killed), monkeypatch.context() as patched:
        patched.setattr("hardwatt.experiment.operations._create", lambda *rest: kill(""))
        run(lab, SimulatedTestbed(tmp_path / "cluster.json"), str(exported), pairs=1, session=3)
    state = Journal.load(lab.dir / JOURNAL)
    assert state is not None
    assert (state.state.session, state.state.protocol) == (3, str(exported))
    monkeypatch.setattr("hardwatt.experiment.operations.load_study", lambda *rest: pytest.fail("the study was read"))
    bundle = run(lab, SimulatedTestbed(tmp_path / "cluster.json"), "", resume=True)
    assert Bundle.open(bundle).manifest.session == 3


@pytest.mark.parametrize(
    ("change", "says"),
    [
        (lambda data: data.update(secret=1), "unknown key 'secret'"),
        (lambda data: data["definition"].update(setup="rm"), "unknown key 'setup'"),
        (lambda data: data["definition"]["trace"].update(comits=1), "unknown key 'trace.comits'"),
        (lambda data: data["definition"]["trace"].update(first_seconds=1.5), "was changed after its export"),
        (lambda data: data["definition"].update(title="\x1b[2J"), "text that does not print"),
        (lambda data: data["definition"]["workload"].update(manifests="../../etc"), "is not a path below"),
        (lambda data: data["definition"].update(arms=["push", "../x"]), "String should match pattern"),
        (lambda data: data.update(schema="hardwatt.protocol/9"), "schema: "),
        (lambda data: data.update(pairs=0), "pairs: "),
        (lambda data: data.pop("code"), "code: Field required"),
    ],
)
def test_a_protocol_with_a_fault_is_refused(lab: Lab, exported: Path, change: Any, says: str) -> None:
    data = json.loads(exported.read_text())
    change(data)
    exported.write_text(json.dumps(data))
    with pytest.raises(LabError, match=re.escape(says)) as caught:
        operations.plan(lab, str(exported))
    assert "\x1b" not in caught.value.message


def test_a_protocol_of_other_code_is_refused_by_the_files_name(lab: Lab, exported: Path) -> None:
    data = json.loads(exported.read_text())
    data["code"]["experiments/arms/push.py"] = "0" * 64
    plan = make_plan(Study(**data["definition"]), seed=0, code=data["code"])
    exported.write_text(protocol_file.written(plan))
    with pytest.raises(VerifyError, match=r"other code than this checkout's: experiments/arms/push\.py"):
        operations.plan(lab, str(exported))


def test_a_protocol_keeps_its_size_and_a_missing_file_is_named(lab: Lab, exported: Path) -> None:
    with pytest.raises(SettingsError, match="is of a quick run, not of a full one"):
        operations.plan(lab, str(exported), size="full")
    with pytest.raises(SettingsError, match=r"there is no protocol file nowhere\.json"):
        operations.plan(lab, "nowhere.json")
