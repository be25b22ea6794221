"""The mock application: off until a commit, which lab.up respects."""

from pathlib import Path

import pytest
import yaml

from hardwatt.config.lab import Lab
from hardwatt.config.settings import ROOT
from hardwatt.core.errors import LabError, SettingsError
from hardwatt.gitops import mock_app, tree
from hardwatt.gitops.repository import Repository
from hardwatt.mirror.index import Index
from tests.gitops.conftest import GENERATED
from tests.gitops.test_manifests import build

OFF = (ROOT / "clusters/lab/app.yaml").read_text()


def test_it_is_off_as_shipped_and_a_kustomization_when_on() -> None:
    assert list(yaml.safe_load_all(OFF)) == []
    on = mock_app.switched(OFF, "on")
    (document,) = [item for item in yaml.safe_load_all(on) if item]
    assert document["kind"] == "Kustomization"
    assert (ROOT / document["spec"]["path"] / "kustomization.yaml").exists()
    assert mock_app.switched(on, "off") == OFF
    assert mock_app.switched(on, "on") == on
    with pytest.raises(LabError, match="where the application begins"):
        mock_app.switched("# nothing\n", "on")


def test_on_is_a_commit_that_lab_up_leaves_alone(lab: Lab, repo: Repository, index: Index) -> None:
    files = tree.desired(lab, index, "embedded")
    with pytest.raises(LabError, match="holds no clusters/lab/app"):
        mock_app.switch(lab, repo, "on")
    repo.publish(files, generated=GENERATED)
    commit = mock_app.switch(lab, repo, "on")
    assert commit == repo.head()
    assert "Mock application on" in repo.last_author(commit, "clusters/lab/app.yaml")
    assert repo.publish(files, generated=GENERATED) == []
    assert mock_app.switch(lab, repo, "on") == ""
    assert mock_app.switch(lab, repo, "off")
    assert repo.text(repo.head(), "clusters/lab/app.yaml") == OFF
    with pytest.raises(SettingsError, match="on or off"):
        mock_app.switch(lab, repo, "of")


def test_its_manifests(kubectl: str, lab: Lab, index: Index, tmp_path: Path) -> None:
    for path, text in tree.desired(lab, index, "embedded").items():
        (tmp_path / path).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / path).write_text(text)
    folder = tmp_path / "build"
    folder.mkdir()
    parts = {"resources": ["../clusters/base/app"], "components": [f"../{GENERATED}"]}
    (folder / "kustomization.yaml").write_text(yaml.safe_dump(parts))
    objects = {item["kind"]: item for item in build(kubectl, folder)}
    assert set(objects) == {"Namespace", "ServiceAccount", "NetworkPolicy", "Service", "Deployment"}
    (container,) = objects["Deployment"]["spec"]["template"]["spec"]["containers"]
    assert container["image"] == index.image("app").reference
    assert container["resources"]["requests"]
    assert objects["Deployment"]["metadata"]["namespace"] == "mock-app"
