"""A synthetic bundle that also holds what only a real experiment has: the study's texts and the experiment's notes."""

from __future__ import annotations

import tomllib
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from hardwatt.bundle.model import Run
from hardwatt.bundle.writer import Writer
from hardwatt.core.files import write_json
from hardwatt.testing import synthetic_bundle
from hardwatt.testing.synthetic_bundle import Spec

STUDY = Path(__file__).parents[2] / "experiments" / "studies" / "push-vs-pull.toml"


def realistic(path: Path, spec: Spec, *, failed: bool = False, levels: tuple[int, ...] = ()) -> Path:
    """Write the bundle into the new folder *path* and return it.

    With *failed* a run failed on the way; with *levels* the arms are levels of the number of applications.
    """
    plan, finish = synthetic_bundle._plan, Writer.finish

    def with_study(spec: Spec) -> dict[str, Any]:
        study = tomllib.loads(STUDY.read_text())
        study["estimand"]["window_seconds"] = spec.window_seconds
        if levels:
            study["factors"] = {"applications": list(levels)}
            named = zip(synthetic_bundle.ARMS, levels, strict=True)
            study["arm"] = {arm: {"levels": {"applications": level}} for arm, level in named}
            study["estimand"]["arms"] = {arm: f"{arm}, as a test has it" for arm in synthetic_bundle.ARMS}
        planned = plan(spec)
        return planned | {"definition": study | {"arms": planned["arms"]}}

    def with_notes(writer: Writer) -> Any:
        if failed:
            when = writer.runs[-1].t1_ms
            reason = "pod workload/app-7c9 did not become Ready in 60 s"
            writer.add_run(Run("again-push", spec.pairs, 0, "push", 1, "failed", reason, when, when))
        draw = np.random.default_rng(spec.seed)
        for run in writer.runs:
            baseline = float(draw.uniform(0.36, 0.42))
            gate = {"waited_seconds": 4.0, "cores": baseline + float(draw.normal(0, 0.03)), "baseline_cores": baseline}
            key = "runner" if run.arm == "push" else "flux"
            fetch = {"time": "2026-01-01T00:00:00+00:00", "key": key, "repository": "workload"}
            write_json(writer.path / "log" / f"{run.run_id}.json", {"gate": gate, "fetches": [fetch] * run.commits})
        return finish(writer)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(synthetic_bundle, "_plan", with_study)
        patch.setattr(Writer, "finish", with_notes)
        return synthetic_bundle.make_bundle(path, spec).path
