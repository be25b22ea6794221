"""A study whose parts are not there is refused, and the missing part is named with the command that brings it."""

import pytest

from hardwatt.config.settings import ROOT
from hardwatt.core.errors import RefusedError
from hardwatt.experiment.plan.study_file import load_study
from hardwatt.experiment.testbed import cluster_checks
from hardwatt.experiment.testbed.inspection import refuse_missing


def test_the_images_on_a_node_are_known_by_their_repositories() -> None:
    names = ["hardwatt.dev/app@sha256:aa", "quay.io:443/prometheus/node-exporter:v1.12.1_lab.1", "pause:3.10"]
    node = {"status": {"images": [{"names": names}, {"names": []}]}}
    wanted = {"hardwatt.dev/app", "quay.io:443/prometheus/node-exporter", "pause"}
    assert cluster_checks.repositories([node, {"status": {}}]) == wanted


@pytest.mark.parametrize(
    ("name", "hint"), [("always-on", "mirror.fill --only ci"), ("control-kepler", "mirror.import ARCHIVE")]
)
def test_the_refusal_names_the_part_and_what_brings_it(name: str, hint: str) -> None:
    study = load_study(ROOT, name)
    refuse_missing(study, [])
    with pytest.raises(RefusedError, match=study.needs[0]) as error:
        refuse_missing(study, study.needs)
    assert hint in error.value.hint
    assert "lab.up" in error.value.hint


def test_what_is_no_image_is_looked_for_in_the_lab() -> None:
    with pytest.raises(RefusedError, match="proc_stat node") as error:
        refuse_missing(load_study(ROOT, "control-kepler"), ["proc_stat node"])
    assert "lab.status" in error.value.hint
