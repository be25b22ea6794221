"""What provisioning hands to the deploys: one set of types, read strictly, older files too."""

import copy
import json
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from deploys import contract
from hardwatt.config.lab import Lab
from hardwatt.config.settings import Settings
from hardwatt.core.errors import LabError
from hardwatt.provision import node_data
from hardwatt.testing import fake_host
from tests.deploys.conftest import ROOT, Runner

OLD = Path(__file__).with_name("written_by_800bb92.json")
GOOD: dict[str, Any] = contract.NodeData(
    contract.Connection("198.51.100.7", 22, "root", "/keys/node", "/known_hosts", ""),
    fake_host.LAB,
    contract.Git.from_dict(fake_host.GIT),
).to_dict()


def test_the_data_come_back_from_json_as_they_were() -> None:
    found = contract.NodeData.from_dict(json.loads(json.dumps(GOOD)))
    assert found.lab == fake_host.LAB
    assert found.to_dict() == GOOD
    assert isinstance(found.lab.images.node[0], contract.Image)
    assert found.lab.pins["kubelet"] == "1.36.3+lab.1"


@pytest.mark.parametrize(
    ("repository", "kind"),
    [
        ({"url": "u", "suite": "stable", "components": "main", "key": "k"}, contract.AptRepository),
        ({"url": "u", "key": "k", "fingerprint": "f"}, contract.RpmRepository),
        (None, type(None)),
    ],
)
def test_the_keys_of_a_repository_say_whose_it_is(repository: Any, kind: type[Any]) -> None:
    found = contract.Lab.from_dict({**fake_host.LAB.to_dict(), "repository": repository})
    assert type(found.repository) is kind
    assert found.to_dict()["repository"] == repository


def _set(*path: Any) -> Callable[[dict[str, Any]], None]:
    *way, key, value = path

    def change(data: Any) -> None:
        for part in way:
            data = data[part]
        data[key] = value

    return change


def _drop(*path: Any) -> Callable[[dict[str, Any]], None]:
    *way, key = path

    def change(data: Any) -> None:
        for part in way:
            data = data[part]
        del data[key]

    return change


WRONG = [
    (_set("more", 1), "the data: unknown 'more'"),
    (_drop("ssh"), "the data: missing 'ssh'"),
    (_drop("ssh", "port"), "ssh: missing 'port'"),
    (_set("ssh", "port", "22"), "ssh.port: int is wanted, not '22'"),
    (_set("ssh", "port", True), "ssh.port: int is wanted, not True"),
    (_set("lab", "nmae", "x"), "lab: unknown 'nmae'"),
    (_drop("lab", "dns_tag"), "lab: missing 'dns_tag'"),
    (_drop("lab", "networks", "node_mask"), "lab.networks: missing 'node_mask'"),
    (_set("lab", "boot", "disable_kmem_accounting", 0), "lab.boot.disable_kmem_accounting: bool is wanted, not 0"),
    (_set("lab", "boot", "nokmem", True), "lab.boot: unknown 'nokmem'"),
    (_set("lab", "cert_sans", "node-1"), "lab.cert_sans: a list is wanted, not 'node-1'"),
    (_set("lab", "cert_sans", 0, None), r"lab.cert_sans\[0\]: str is wanted, not None"),
    (_drop("lab", "images", "node", 0, "digest"), r"lab.images.node\[0\]: missing 'digest'"),
    (_set("lab", "packages", "kubernetes", "kubelet", 1.36), r"kubernetes\['kubelet'\]: str is wanted, not 1.36"),
    (_set("lab", "registries", []), r"lab.registries: a table is wanted, not \[\]"),
    (_set("lab", "registries", "registry.k8s.io", {"mirror": "m"}), r"\['registry.k8s.io'\]: missing 'server'"),
    (_set("lab", "repository", "suiet", "stable"), "lab.repository: unknown 'suiet'"),
    (_set("lab", "upstream", "1.36"), "lab.upstream: a table is wanted, not '1.36'"),
    (_set("lab", None), "lab: a table is wanted, not None"),
    (_set("lab", "reading_interval", "1s"), "lab: unknown 'reading_interval'"),
    (_drop("data", "git_port"), "data: missing 'git_port'"),
]


@pytest.mark.parametrize(("change", "said"), WRONG, ids=[said for _, said in WRONG])
def test_what_is_unknown_missing_or_of_another_kind_is_refused_by_its_place(
    change: Callable[[dict[str, Any]], None], said: str
) -> None:
    data = copy.deepcopy(GOOD)
    change(data)
    with pytest.raises(contract.ContractError, match=said):
        contract.NodeData.from_dict(data)


@pytest.mark.parametrize("data", [None, [], "x", 1])
def test_what_is_no_table_is_refused(data: Any) -> None:
    with pytest.raises(contract.ContractError, match="the data: a table is wanted"):
        contract.NodeData.from_dict(data)


def test_fake_data_cannot_leave_the_contract() -> None:
    assert fake_host.lab(preset="legacy")["preset"] == "legacy"
    with pytest.raises(contract.ContractError, match="lab: unknown 'persets'"):
        fake_host.lab(persets="legacy")


def test_the_file_of_an_older_version_is_read(tmp_path: Path) -> None:
    """Such a lab can be taken down: the host's data are asked for before anything is undone."""
    lab = Lab(Settings(name="unit"), ROOT, tmp_path)
    node_data.node_file(lab).write_text(OLD.read_text())
    assert "scrape_interval" not in OLD.read_text()
    found = node_data.read_node_data(lab)
    assert found.lab.scrape_interval == "1s"
    assert not node_data.takes_rpms(lab)
    old = json.loads(OLD.read_text())
    old["lab"]["scrape_interval"] = old["lab"].pop("reading_interval")
    assert old["lab"]["boot"] == {"nokmem": False, "headers": "matching"}
    old["lab"]["boot"] = {"disable_kmem_accounting": False, "kernel_headers": "matching"}
    assert found.to_dict() == old


def test_the_inventory_reads_the_file_of_an_older_version() -> None:
    argv = [sys.executable, "-m", "pyinfra", "inventory/lab.py", "debug-inventory", "--json"]
    env = {"HARDWATT_NODE_FILE": str(OLD)}
    done = subprocess.run(argv, cwd=ROOT, env=env, capture_output=True, text=True, check=True)
    host = json.loads(done.stdout)[0]["data"]
    assert host["ssh_hostname"] == "10.77.0.2"
    assert host["lab"]["scrape_interval"] == "1s"
    assert host["git_port"] == 2222


def test_the_host_of_an_older_lab_is_given_back(run_node: Runner) -> None:
    record = "read=yes\nlab unit\nentry package kubelet\nentry package containerd.io\nentry package socat"
    old = contract.NodeData.from_dict(json.loads(OLD.read_text())).lab.to_dict()
    answers = {"record": record, "newpackages": "kubelet\ncontainerd.io\nsocat"}
    found = run_node(answers=answers, lab=old, steps=["reset"])
    assert "Give back | packages that were not there before: kubelet, containerd.io, socat" in found.results
    found.has_in_order(["kubeadm reset --force", "apt-get"])


@pytest.mark.parametrize("text", ["{}", "{", '{"ssh": {}, "lab": {}, "data": {}}'])
def test_a_file_that_does_not_fit_is_named_with_the_way_on(text: str, tmp_path: Path) -> None:
    file = tmp_path / "node.json"
    file.write_text(text)
    argv = [sys.executable, "-m", "pyinfra", "inventory/lab.py", "debug-inventory"]
    done = subprocess.run(
        argv, cwd=ROOT, env={"HARDWATT_NODE_FILE": str(file)}, capture_output=True, text=True, check=False
    )
    assert done.returncode != 0
    said = done.stderr + done.stdout
    assert str(file) in said
    assert "invoke lab.check" in said
    assert "Traceback" not in said


@pytest.mark.parametrize(
    ("text", "said"), [('{"ssh": {}}', "missing 'data', 'lab'"), ("[]", "a table is wanted"), ("{", "Expecting")]
)
def test_the_toolkit_names_a_file_that_does_not_fit(text: str, said: str, tmp_path: Path) -> None:
    lab = Lab(Settings(name="unit"), ROOT, tmp_path)
    node_data.node_file(lab).write_text(text)
    with pytest.raises(LabError, match=rf"node\.json.*{said}") as caught:
        node_data.read_node_data(lab)
    assert caught.value.hint == "invoke lab.check"


@pytest.mark.parametrize("leaf", ["provision.node_data", "provision.runner", "provision.git_keys"])
def test_the_deploys_are_found_beside_the_package_and_bring_no_pyinfra(leaf: str, tmp_path: Path) -> None:
    """A console script finds the package alone: neither the checkout nor the current folder is in its path."""
    (tmp_path / "hardwatt").symlink_to(ROOT / "hardwatt")
    script = f"import sys, hardwatt.{leaf}, deploys.contract as c; print(c.__file__, 'pyinfra' in sys.modules)"
    argv = [sys.executable, "-P", "-c", script]
    env = {"PYTHONPATH": str(tmp_path)}
    done = subprocess.run(argv, cwd=tmp_path, env=env, capture_output=True, text=True, check=False)
    assert done.stdout == f"{ROOT}/deploys/contract.py False\n", done.stderr
