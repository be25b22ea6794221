import subprocess
from pathlib import Path
from typing import Any

import pytest
import yaml

from hardwatt.config.lab import Lab
from hardwatt.config.settings import ROOT, Settings
from hardwatt.core.errors import LabError, SettingsError
from hardwatt.gitops import component, scrape_interval, tree
from hardwatt.mirror.index import Artefact, Index
from tests.gitops.conftest import find_tool

GOLDEN = Path(__file__).parent / "golden" / "kustomization.yaml"
BASE = {path.relative_to(ROOT).as_posix(): path.read_text() for path in (ROOT / "clusters").rglob("*.yaml")}


def render(settings: Settings, index: Index, kind: str = "embedded") -> str:
    return component.render(component.facts(settings, index, kind), BASE)


def test_golden(index: Index) -> None:
    """The whole file, for a lab with every default on the embedded node."""
    assert render(Settings(name="test"), index) == GOLDEN.read_text()


def test_it_is_the_same_for_the_same_lab(index: Index) -> None:
    other = Index(index.root, tuple(reversed(index.artefacts)))
    assert render(Settings(name="test"), index) == render(Settings(name="test"), other)


def patches(text: str) -> dict[str, dict[str, object]]:
    return {item["target"]["name"]: yaml.safe_load(item["patch"]) for item in yaml.safe_load(text)["patches"]}


@pytest.mark.parametrize(
    ("source", "kind", "modelled"),
    [
        ("auto", "embedded", True),
        ("auto", "vm", True),
        ("auto", "ssh", False),
        ("rapl", "embedded", False),
        ("modelled", "ssh", True),
    ],
)
def test_sysfs_is_the_modelled_tree_where_the_meter_is(index: Index, source: str, kind: str, modelled: bool) -> None:
    settings = Settings.model_validate({"name": "test", "meter": {"source": source}})
    assert ("node-exporter" in patches(render(settings, index, kind))) is modelled


def test_settings_reach_prometheus(index: Index) -> None:
    settings = Settings.model_validate({"name": "test", "prometheus": {"retention": "3h", "retention_size": "1GB"}})
    found = patches(render(settings, index))
    assert "value: 3h" in yaml.safe_dump(found["prometheus-k8s"])
    assert "value: 1GB" in yaml.safe_dump(found["prometheus-k8s"])
    assert "prometheus-config" not in found, "what clusters/base says needs no patch"


def data(index: Index, every: str, **prometheus: str) -> dict[str, Any]:
    settings = Settings.model_validate({"name": "test", "prometheus": prometheus})
    kepler = Artefact(
        "quay.io/sustainable_computing_io/kepler", "image", "extra", "v0.11.4", "imported", "", "", "", ""
    )
    made = component.facts(settings, index.with_artefact(kepler), "vm", every)
    return {name: body["data"] for name, body in patches(component.render(made, BASE)).items() if "data" in body}


@pytest.mark.parametrize(
    ("every", "timeout", "others"),
    [("500ms", "500ms", None), ("1s", "1s", None), ("5s", "5s", None), ("12s", "10s", None), ("20s", "10s", "20s"),
     ("1m", "10s", "1m")],
)  # fmt: skip
def test_jobs_that_read_the_nodes_counters_follow_the_interval(
    index: Index, every: str, timeout: str, others: str | None
) -> None:
    made = data(index, every)
    config = yaml.safe_load(made["prometheus-config"]["prometheus.yaml"])
    jobs = {
        job["job_name"]: (job.get("scrape_interval"), job.get("scrape_timeout")) for job in config["scrape_configs"]
    }
    assert jobs["meter"] == jobs["cadvisor"] == (every, timeout)
    assert jobs["kubelet"] == jobs["flux"] == (None, None)
    assert config["global"]["scrape_interval"] == (others or "15s")
    assert (config["global"]["scrape_timeout"], config["global"]["evaluation_interval"]) == ("10s", "15s")
    assert f"timeInterval: {every}\n" in made["grafana-provisioning"]["datasource.yaml"]


@pytest.mark.parametrize(
    ("every", "scraped", "computed"),
    [("500ms", "3s", "1s"), ("1s", "3s", "1s"), ("4s", "4s", "4s"), ("20s", "20s", "5s"), ("1m", "1m", "5s")],
)
def test_kepler_follows_the_interval_as_far_as_it_can(index: Index, every: str, scraped: str, computed: str) -> None:
    made = data(index, every)
    assert made["prometheus-scrape-kepler"]["kepler.yaml"].count(f": {scraped}\n") == 2
    monitor = yaml.safe_load(made["kepler-config"]["config.yaml"])["monitor"]
    assert monitor == {**yaml.safe_load(BASE[scrape_interval.KEPLER_CONFIG])["monitor"], "interval": computed}


@pytest.mark.parametrize("attribution", ["cgroup", "kepler"])
@pytest.mark.parametrize(
    ("every", "windows"),
    [("1s", ("[6s]", "offset 6s", "/ 6 ", "[7s]", "[8s]) < 7")),
     ("5s", ("[30s]", "offset 30s", "/ 30 ", "[35s]", "[40s]")),
     ("1m", ("[4m]", "offset 4m", "/ 240 ", "[5m]", "[8m]) < 7")), ("500ms", ("[3s]", "offset 3s", "[3500ms]", "[4s]")),
     ("59s", ("[237s]", "offset 237s", "/ 237 ", "[296s]"))],
)  # fmt: skip
def test_windows_of_rules_hold_as_many_scrapes(
    index: Index, attribution: str, every: str, windows: tuple[str, ...], tmp_path: Path
) -> None:
    made = data(index, every, attribution=attribution)["prometheus-rules"]
    assert set(made) >= {"lab-alerts.yaml", "recorded.yaml", f"recreated-{attribution}.yaml"}
    texts = {name: text for name, text in made.items() if text is not None}
    for window in windows:
        assert any(window in text for text in texts.values()), window
    assert not [text for text in texts.values() if "60s" in text or "75s" in text]
    for name, text in texts.items():
        (tmp_path / name).write_text(text)
        done = subprocess.run([find_tool("promtool"), "check", "rules", tmp_path / name], capture_output=True)
        assert done.returncode == 0, done.stdout + done.stderr
    assert (made.get("recreated-cgroup.yaml", "") is None) is (attribution == "kepler")


def test_the_default_interval_changes_nothing_in_a_rule() -> None:
    for name in ("lab-alerts", "recorded", "recreated-cgroup", "recreated-kepler"):
        text = BASE[scrape_interval.RULES.format(name)]
        again = scrape_interval.rules(text, scrape_interval.BASE)
        assert again.replace("[1m]", "[60s]").replace("offset 1m", "offset 60s") == text.replace("[1m]", "[60s]")


def test_images_of_the_node_are_not_fluxs_business(index: Index) -> None:
    names = [image["name"] for image in yaml.safe_load(render(Settings(name="test"), index))["images"]]
    assert "registry.k8s.io/etcd" not in names
    assert "ghcr.io/fluxcd/source-controller" in names


def test_a_mirror_that_is_not_filled_is_an_error_not_a_lab_without_digests(index: Index) -> None:
    part = Index(index.root, tuple(a for a in index.artefacts if "prometheus/prometheus" not in a.name))
    with pytest.raises(LabError, match="prometheus") as caught:
        render(Settings(name="test"), part)
    assert "mirror.fill" in caught.value.hint


@pytest.mark.parametrize(
    ("cluster", "folder"),
    [("clusters/lab", "clusters/generated/lab"), ("./clusters/mine/", "clusters/generated/mine")],
)
def test_the_generated_folder_lies_beside_the_synced_one(cluster: str, folder: str) -> None:
    assert component.folder(cluster) == folder


def test_desired_has_base_cluster_and_generated(lab: Lab, index: Index) -> None:
    files = tree.desired(lab, index, "embedded")
    assert "clusters/generated/lab/kustomization.yaml" in files
    assert "clusters/lab/monitoring.yaml" in files
    assert {path.split("/")[1] for path in files} == {"base", "generated", "lab"}
    for name in ("gotk-components.yaml", "gotk-sync.yaml"):
        assert files[f"clusters/lab/flux-system/{name}"].startswith("#")


def test_an_unknown_cluster_folder_is_an_error_with_a_hint(lab: Lab, index: Index) -> None:
    settings = Settings.model_validate({"name": "test", "gitops": {"path": "clusters/lba"}})
    with pytest.raises(LabError, match="clusters/lba"):
        tree.desired(Lab(settings, lab.root, lab.dir), index, "embedded")


KEPLER = Artefact(
    "quay.io/sustainable_computing_io/kepler", "image", "extra", "v0.11.4", "imported", "", "sha256:k", "", ""
)


def test_kepler_rules_take_the_place_of_the_cgroup_ones(index: Index) -> None:
    settings = Settings.model_validate({"name": "test", "prometheus": {"attribution": "kepler"}})
    held = index.with_artefact(KEPLER)
    rules = patches(render(settings, held, "ssh"))["prometheus-rules"]["data"]
    assert rules == {"recreated-cgroup.yaml": None, "recreated-kepler.yaml": BASE[component.RULES.format("kepler")]}
    assert "prometheus-rules" not in patches(render(Settings(name="test"), held, "ssh"))


@pytest.mark.parametrize(("kind", "reason"), [("ssh", "not in the mirror"), ("embedded", "/proc/stat is not")])
def test_attribution_by_a_kepler_that_is_of_no_use_is_refused(index: Index, kind: str, reason: str) -> None:
    settings = Settings.model_validate({"name": "test", "prometheus": {"attribution": "kepler"}})
    held = index.with_artefact(KEPLER) if kind == "embedded" else index
    with pytest.raises(SettingsError, match=reason) as caught:
        render(settings, held, kind)
    assert "cgroup" in caught.value.hint
