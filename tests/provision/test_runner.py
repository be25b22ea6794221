"""How the deploys are run: targets, what pyinfra said, and the data that they are given."""

import ast
import dataclasses
import json
import stat
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from hardwatt.config import versions
from hardwatt.config.lab import Lab
from hardwatt.config.settings import Settings
from hardwatt.connect.endpoint import Endpoint
from hardwatt.core import process
from hardwatt.core.errors import LabError, SettingsError
from hardwatt.mirror.index import Artefact, Index
from hardwatt.mirror.served import Served
from hardwatt.provision import node_data, node_packages, runner
from tests.data.recordings import recorded
from tests.deploys import killing
from tests.deploys.conftest import ROOT

IMAGES = {
    "registry.k8s.io/kube-apiserver": "v1.36.3_lab.1",
    "registry.k8s.io/etcd": "3.6.14_lab.1",
    "registry.k8s.io/pause": "3.10.2_lab.1",
    "registry.k8s.io/coredns/coredns": "v1.14.2_lab.1",
    "quay.io/prometheus/prometheus": "v3.15.1_lab.1",
}
PACKAGES = {"containerd.io": "2.3.4+lab.1", **dict.fromkeys(node_packages.KUBERNETES, "1.36.3+lab.1")}


def artefact(kind: str, name: str, version: str) -> Artefact:
    group = "node" if "k8s.io" in name or kind == "package" else "gitops"
    return Artefact(name, kind, group, version, "built", "by test", "sha256:" + "a" * 64, "", "")


@pytest.fixture
def lab(tmp_path: Path) -> Lab:
    return Lab(Settings(name="unit"), ROOT, tmp_path / ".lab/unit")


@pytest.fixture
def index(tmp_path: Path) -> Index:
    items = [artefact("image", *item) for item in IMAGES.items()]
    return Index(tmp_path, tuple(items + [artefact("package", *item) for item in PACKAGES.items()]))


@pytest.fixture
def served(tmp_path: Path) -> Served:
    key = tmp_path / "key.asc"
    key.write_text("a public key\n")
    return Served("http://10.77.0.1:8701/apt", "10.77.0.1:8700", key)


@pytest.fixture(autouse=True)
def processor(monkeypatch: pytest.MonkeyPatch) -> node_data.Processor:
    """No test here asks a node."""
    found = node_data.Processor(2, "vendor_id\t: GenuineIntel\ncpu family\t: 6\nmodel\t\t: 45\n")
    monkeypatch.setattr(node_data.Processor, "of", lambda end: found)
    return found


def endpoint(lab: Lab, **data: Any) -> Endpoint:
    key = lab.keys / "node"
    return Endpoint("unit", "embedded", "10.77.0.2", 22, "root", key, lab.known_hosts, "10.77.0.1", "10.77.0.2", data)


class Pyinfra:
    """Stands in for core.process: answers once, keeps the command lines."""

    def __init__(self, output: str, code: int = 0) -> None:
        self.output, self.code = output, code
        self.calls: list[list[str]] = []

    def __call__(self, argv: list[str], *, log: Path, env: dict[str, str], **more: Any) -> process.Result:
        assert argv[:3] == [sys.executable, "-m", "pyinfra"]
        assert Path(env["HARDWATT_NODE_FILE"]).exists()
        self.calls.append(argv[3:])
        log.parent.mkdir(parents=True, exist_ok=True)
        log.write_text(self.output)
        return process.Result(tuple(argv), self.code, "", "", 0.1)


def test_the_list_is_literal_and_each_step_has_one_file_with_one_configure() -> None:
    names = runner.steps(ROOT)
    assert names[0] == "preflight"
    assert len(names) == len(set(names)) >= 8
    body = ast.parse((ROOT / "deploys/node.py").read_text()).body
    literal = [item.value for item in body if isinstance(item, ast.Assign)]
    assert [ast.literal_eval(value) for value in literal] == [names]
    for name in names:
        assert (ROOT / f"deploys/{name}.py").read_text().count("\ndef configure(") == 1


def test_the_list_is_read_from_the_root_that_is_given(tmp_path: Path) -> None:
    (tmp_path / "deploys").mkdir()
    (tmp_path / "deploys/node.py").write_text('STEPS = ("one", "two")\n')
    assert runner.steps(tmp_path) == ("one", "two")
    assert runner.select(tmp_path, ["two"]) == ["deploys.two.configure"]


def test_reading_the_list_runs_no_step_and_brings_no_pyinfra() -> None:
    script = "import sys, deploys.node; print(sorted({'pyinfra', 'gevent', 'deploys.preflight'} & set(sys.modules)))"
    done = subprocess.run([sys.executable, "-c", script], cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.stdout.strip() == "[]", done.stderr


def test_steps_are_chosen_in_their_order_and_a_wrong_name_lists_the_right_ones() -> None:
    assert runner.select(ROOT, []) == ["deploys/node.py"]
    assert runner.select(ROOT, ["cni", "containerd"]) == ["deploys.containerd.configure", "deploys.cni.configure"]
    with pytest.raises(LabError, match=r"unknown step kubeadmin; did you mean 'kubeadm'\?") as caught:
        runner.select(ROOT, ["kubeadmin"])
    assert "kubernetes, cni" in caught.value.hint


def test_apply_counts_what_ran(lab: Lab, index: Index, served: Served, monkeypatch: pytest.MonkeyPatch) -> None:
    runner.write_node_data(lab, endpoint(lab), index, served)
    rows = [
        {"name": "A | b", "success": ["unit"], "no_change": [], "error": []},
        {"name": "A | c", "success": [], "no_change": ["unit"], "error": []},
    ]
    pyinfra = Pyinfra("--> Loading config...\n" + json.dumps({"plan": [], "results": {"operations": rows}}) + "\n")
    monkeypatch.setattr(process, "run", pyinfra)
    assert runner.apply(lab) == runner.DeployResult(["A | b"], 2)
    assert pyinfra.calls == [["inventory/lab.py", "deploys/node.py", "--json", "-y"]]


def test_plan_never_says_yes(lab: Lab, index: Index, served: Served, monkeypatch: pytest.MonkeyPatch) -> None:
    runner.write_node_data(lab, endpoint(lab), index, served)
    rows = [
        {"name": "A | b", "hosts_with_change": ["unit"], "hosts_with_conditional_change": []},
        {"name": "A | c", "hosts_with_change": [], "hosts_with_conditional_change": ["unit"]},
        {"name": "A | d", "hosts_with_change": [], "hosts_with_conditional_change": []},
    ]
    pyinfra = Pyinfra(json.dumps({"plan": rows, "results": None}))
    monkeypatch.setattr(process, "run", pyinfra)
    assert runner.plan(lab) == runner.PlannedChanges(["A | b", "A | c (if needed then)"], 3)
    assert pyinfra.calls == [["inventory/lab.py", "deploys/node.py", "--json", "--dry"]]


def test_a_list_that_ends_with_a_reboot_says_so(
    lab: Lab, index: Index, served: Served, monkeypatch: pytest.MonkeyPatch
) -> None:
    runner.write_node_data(lab, endpoint(lab), index, served)
    rows = [
        {"name": "Boot arguments | For the next boot", "success": ["unit"]},
        {"name": runner.WAITS, "success": []},
    ]
    monkeypatch.setattr(process, "run", Pyinfra(json.dumps({"plan": [], "results": {"operations": rows}})))
    assert runner.apply(lab) == runner.DeployResult(["Boot arguments | For the next boot"], 2, waits=True)
    planned = [
        {"name": "Boot arguments | For the next boot", "hosts_with_change": ["unit"]},
        {"name": runner.WAITS, "hosts_with_change": [], "hosts_with_conditional_change": []},
    ]
    monkeypatch.setattr(process, "run", Pyinfra(json.dumps({"plan": planned, "results": None})))
    assert runner.plan(lab).lines[1].startswith("a reboot;")


def test_a_failure_names_operation_words_log_and_next_step(
    lab: Lab, index: Index, served: Served, monkeypatch: pytest.MonkeyPatch
) -> None:
    runner.write_node_data(lab, endpoint(lab), index, served)
    log = recorded("pyinfra-failed").replace("Error:", "\x1b[31mError\x1b[0m:")
    assert "\x1b" in log
    monkeypatch.setattr(process, "run", Pyinfra(log, 1))
    with pytest.raises(LabError, match=r"'Modules \| br_netfilter' failed on the node of unit") as caught:
        runner.apply(lab)
    assert "Module br_netfilter not found" in caught.value.message
    assert "\x1b" not in caught.value.message
    assert str(lab.logs) in caught.value.message
    assert "again" in caught.value.hint


def test_the_parts_of_a_deploy_are_told_once_each() -> None:
    assert runner.parts(recorded("pyinfra-applied")) == ["Swap", "Modules"]
    coloured = recorded("pyinfra-applied").replace("Modules | overlay", "\x1b[34mPod network | Bridge\x1b[0m")
    assert runner.parts(coloured) == ["Swap", "Modules", "Pod network"]


def test_what_pyinfra_prints_after_a_run_is_read() -> None:
    results = runner.payload(recorded("pyinfra-applied"), Path("log"))["results"]
    assert [row["name"] for row in results["operations"] if row["success"]] == [
        "Swap | Off", "Modules | br_netfilter", "Modules | overlay",
    ]  # fmt: skip


def test_old_logs_are_removed(lab: Lab, index: Index, served: Served, monkeypatch: pytest.MonkeyPatch) -> None:
    runner.write_node_data(lab, endpoint(lab), index, served)
    monkeypatch.setattr(process, "run", Pyinfra(json.dumps({"plan": [], "results": None})))
    for _ in range(runner.LOGS + 3):
        runner.plan(lab)
    assert len(list(lab.logs.glob("node-*.log"))) == runner.LOGS


def test_silence_is_an_error(tmp_path: Path) -> None:
    with pytest.raises(LabError, match="without saying"):
        runner.payload("nothing here\n{}\n", tmp_path)


def test_without_a_node_there_is_a_next_command(lab: Lab) -> None:
    with pytest.raises(LabError, match="nothing is known") as caught:
        runner.plan(lab)
    assert caught.value.hint == "invoke lab.up"


@pytest.mark.parametrize("run", [runner.plan, runner.explain])
def test_deploys_that_do_not_end_name_the_host(
    lab: Lab, index: Index, served: Served, monkeypatch: pytest.MonkeyPatch, run: Callable[[Lab], object]
) -> None:
    node_data.write_node_data(lab, endpoint(lab), index, served)
    real = process.run
    monkeypatch.setattr(process, "run", lambda argv, **more: real(["sleep", "7"], **more))
    monkeypatch.setattr(runner, "TIMEOUT", 0.2)
    with pytest.raises(LabError, match=r"the deploys on 10\.77\.0\.2 did not end within 0\.2 s") as error:
        run(lab)
    assert error.value.hint.startswith("invoke lab.check")


def test_the_plan_of_a_bare_machine_by_the_real_pyinfra(tmp_path: Path) -> None:
    argv = [sys.executable, "-m", "pyinfra", "hardwatt/testing/fake_host.py", "deploys/node.py", "--dry", "--json"]
    done = subprocess.run(argv, cwd=ROOT, capture_output=True, text=True, check=True)
    rows = runner.payload(done.stdout, tmp_path)["plan"]
    assert len(rows) > 15
    # pyinfra sorts by the lines that called an operation, and all steps are called in one
    titles = list(dict.fromkeys(row["name"].partition(" | ")[0] for row in rows))
    known = [killing.title_of(name) for name in runner.steps(ROOT)]
    assert titles == [title for title in known if title in titles]
    assert len(titles) > 10
    # what is not there needs no change: a control plane, swap, firewalld, NetworkManager
    nothing = {
        "Control plane | API server answers", "Swap | Off", "Firewall | firewalld", "Firewall | NetworkManager",
        "Sources of packages and images | No mirror of registry.k8s.io for kubelet",
    }  # fmt: skip
    assert {row["name"] for row in rows if not row["hosts_with_change"]} == nothing


def test_the_report_of_the_checks_by_the_real_pyinfra(tmp_path: Path) -> None:
    report = tmp_path / "report.json"
    argv = [
        sys.executable,
        "-m",
        "pyinfra",
        "hardwatt/testing/fake_host.py",
        "deploys.preflight.report",
        "--dry",
        "--json",
    ]
    subprocess.run(argv, cwd=ROOT, env={runner.REPORT: str(report)}, capture_output=True, check=True)
    assert json.loads(report.read_text()) == []


def test_a_node_with_kepler_rewrites_the_zone_as_often_as_kepler_needs(
    lab: Lab, index: Index, served: Served, processor: node_data.Processor
) -> None:
    kepler = versions.lock().foreign["kepler"]
    held = artefact("image", kepler.repository, kepler.tag)
    more = Index(index.root, (*index.artefacts, held))
    data = node_data.node_data(lab, endpoint(lab), more, served, processor)
    assert data.lab.meter.config["write_seconds"] == 0.1


def test_node_data_names_what_the_index_holds(
    lab: Lab, index: Index, served: Served, processor: node_data.Processor
) -> None:
    end = endpoint(lab, cgroup_root="/pods", machine_cgroup="/sys/fs/cgroup/cpuacct")
    data = node_data.node_data(lab, end, index, served, processor).to_dict()["lab"]
    assert data["meter"]["config"]["source"] == "modelled"
    assert data["meter"]["config"]["force_model"], "a counter that the node sees is that of the whole machine"
    assert data["meter"]["config"]["cpu"] == "/sys/fs/cgroup/cpuacct"
    assert data["meter"]["config"]["model"]["name"] == "intel-sandy-bridge"
    assert len(data["meter"]["mounts"]) == 3
    assert all((ROOT / source).exists() for source in data["meter"]["files"].values())
    assert data["meter"]["config"]["write_seconds"] == 1.0
    assert data["kubernetes_version"] == "v1.36.3+lab.1"
    assert (data["etcd_tag"], data["dns_tag"]) == ("3.6.14_lab.1", "v1.14.2_lab.1")
    assert data["pause"] == "registry.k8s.io/pause:3.10.2_lab.1"
    assert [image["tag"] for image in data["images"]["workload"]] == ["v3.15.1_lab.1"]
    assert len(data["images"]["node"]) == len(IMAGES) - 1
    assert data["packages"]["containerd"] == {"containerd.io": "2.3.4+lab.1"}
    assert data["packages"]["kubernetes"]["kubelet"] == "1.36.3+lab.1"
    assert data["preset"] == "embedded"
    assert data["cgroup_root"] == "/pods"
    assert set(data["registries"]) == {"registry.k8s.io", "quay.io"}
    assert data["registries"]["quay.io"] == {
        "mirror": "http://10.77.0.1:8700/v2/quay.io",
        "server": "https://quay.io",
    }
    assert {"10.77.0.2", "127.0.0.1"} <= set(data["cert_sans"])


def test_the_node_file_holds_no_secret_and_the_inventory_checks_host_keys(
    lab: Lab, index: Index, served: Served, tmp_path: Path
) -> None:
    file = runner.write_node_data(lab, endpoint(lab), index, served)
    assert stat.S_IMODE(file.stat().st_mode) == 0o600
    assert "PRIVATE" not in file.read_text()
    argv = [sys.executable, "-m", "pyinfra", "inventory/lab.py", "debug-inventory", "--json"]
    env = {"HARDWATT_NODE_FILE": str(file)}
    done = subprocess.run(argv, cwd=ROOT, env=env, capture_output=True, text=True, check=True)
    host = json.loads(done.stdout)[0]["data"]
    assert host["ssh_strict_host_key_checking"] == "yes"
    assert host["ssh_known_hosts_file"] == str(lab.known_hosts)
    assert host["ssh_key"] == str(lab.keys / "node")
    assert host["ssh_allow_agent"] is False


def test_the_file_of_an_older_version_is_written_anew(lab: Lab, index: Index, served: Served) -> None:
    file = node_data.node_file(lab)
    file.parent.mkdir(parents=True)
    file.write_text((ROOT / "tests/deploys/written_by_800bb92.json").read_text())
    runner.write_node_data(lab, endpoint(lab), index, served)
    data = json.loads(file.read_text())
    assert "reading_interval" not in data["lab"]
    assert data == node_data.read_node_data(lab).to_dict()
    before = file.stat().st_ino
    runner.write_node_data(lab, endpoint(lab), index, served)
    assert file.stat().st_ino == before, "what has not changed is not written"


@pytest.mark.parametrize("text", ["", "{", "{}", "[]"])
def test_a_file_that_does_not_fit_is_written_anew(
    text: str, lab: Lab, index: Index, served: Served, processor: node_data.Processor
) -> None:
    file = node_data.node_file(lab)
    file.parent.mkdir(parents=True)
    file.write_text(text)
    runner.write_node_data(lab, endpoint(lab), index, served)
    assert node_data.read_node_data(lab) == node_data.node_data(lab, endpoint(lab), index, served, processor)


def test_the_inventory_alone_is_that_of_the_lab_that_is_set(tmp_path: Path) -> None:
    argv = [sys.executable, "-m", "pyinfra", "inventory/lab.py", "debug-inventory"]
    env = {"HARDWATT_LAB": "no-such-lab", "PATH": "/usr/bin"}
    done = subprocess.run(argv, cwd=ROOT, env=env, capture_output=True, text=True, check=False)
    assert done.returncode != 0
    assert ".lab/no-such-lab/node.json does not exist" in done.stderr + done.stdout


def test_an_inventory_without_a_lab_says_how_to_make_one(tmp_path: Path) -> None:
    argv = [sys.executable, "-m", "pyinfra", "inventory/lab.py", "debug-inventory"]
    env = {"HARDWATT_NODE_FILE": str(tmp_path / "node.json")}
    done = subprocess.run(argv, cwd=ROOT, env=env, capture_output=True, text=True, check=False)
    assert done.returncode != 0
    assert "invoke lab.up" in done.stderr + done.stdout


@pytest.mark.parametrize(
    ("pods", "share", "mask"),
    [
        ("10.244.0.0/16", "10.244.0.0/24", 24),
        ("172.30.5.0/24", "172.30.5.0/24", 24),
        ("10.9.8.64/27", "10.9.8.64/27", 27),
    ],
)
def test_the_nodes_share_of_the_pod_network(pods: str, share: str, mask: int) -> None:
    found = node_data.networks(pods, "10.96.0.0/16")
    assert (found.node_pod_cidr, found.node_mask) == (share, mask)


@pytest.mark.parametrize("pods", ["10.0.0.0/30", "fd00::/64"])
def test_a_pod_network_without_room_is_refused(pods: str) -> None:
    with pytest.raises(SettingsError, match="pod_cidr"):
        node_data.networks(pods, "10.96.0.0/16")


def test_our_own_images_are_asked_for_nowhere_else(
    lab: Lab, index: Index, served: Served, processor: node_data.Processor
) -> None:
    own = index.with_artefact(artefact("image", "hardwatt.dev/app", "v0.1.0_lab.1"))
    own = own.with_artefact(artefact("image", "docker.io/grafana/grafana", "12"))
    found = node_data.node_data(lab, endpoint(lab), own, served, processor).to_dict()["lab"]["registries"]
    assert found["hardwatt.dev"]["server"] == found["hardwatt.dev"]["mirror"] == served.mirror_of("hardwatt.dev")
    assert found["docker.io"]["server"] == "https://registry-1.docker.io"


@pytest.fixture
def upstream(index: Index) -> Index:
    """The index of mirror mode ``upstream``: only our own images are this lab's."""
    theirs = [
        dataclasses.replace(one, source="upstream", version={"package": "1.36.3-*"}.get(one.kind, one.version))
        for one in index.artefacts
    ]
    return Index(index.root, (*theirs, artefact("image", "hardwatt.dev/app", "v0.1.0_lab.1")))


def test_a_node_may_take_all_but_our_own_images_from_upstream(
    lab: Lab, upstream: Index, served: Served, processor: node_data.Processor
) -> None:
    data = node_data.node_data(lab, endpoint(lab), upstream, served, processor).to_dict()["lab"]
    assert data["repository"] is None
    assert data["upstream"] == {"minor": "1.36", "base": ""}
    assert data["packages"]["kubernetes"]["kubelet"] == "1.36.3-*"
    assert list(data["registries"]) == ["hardwatt.dev"]
    # they come with upstream's packages, and Debian's runc conflicts with containerd.io
    assert not {"runc", "containernetworking-plugins"} & set(data["distribution_packages"])


def test_the_legacy_preset_is_upstreams_alone(
    lab: Lab, index: Index, upstream: Index, served: Served, processor: node_data.Processor
) -> None:
    legacy = dataclasses.replace(lab, settings=Settings(name="unit", preset="legacy"))
    data = node_data.node_data(legacy, endpoint(lab), upstream, served, processor).to_dict()["lab"]
    assert data["upstream"]["minor"] == "1.34"
    assert data["kubernetes_version"] == "v1.34.11"
    assert data["packages"]["kubernetes"]["kubeadm"] == "1.34.11-*"
    assert data["images"]["node"] == []
    with pytest.raises(LabError, match="upstream's repositories alone") as caught:
        node_data.node_data(legacy, endpoint(lab), index, served, processor)
    assert 'mode = "upstream"' in caught.value.hint


def test_what_a_deploy_itself_ended_with_is_the_error() -> None:
    said = runner.failure("mine", "deploys/node.py", recorded("pyinfra-refused"), Path("log")).message
    assert said.startswith("the preparation of deploys/node.py failed on the node of mine:\nthis host cannot carry")
    assert "no energy counter" in said
    assert "deploy.py line" not in said and "Connected" not in said


def test_the_operation_that_failed_is_named_with_what_it_said() -> None:
    said = runner.failure("mine", "deploys/node.py", recorded("pyinfra-failed"), Path("log")).message
    assert said.startswith("the operation 'Modules | br_netfilter' failed")
    assert "Module br_netfilter not found" in said
    assert "Swap" not in said and "No hosts remaining" not in said
