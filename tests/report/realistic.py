"""A synthetic bundle that also holds what only a real experiment has: the study's texts and the engine's notes."""

from __future__ import annotations

import tomllib
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from hardwatt.bundle import Writer, synthetic
from hardwatt.bundle.synthetic import Spec
from hardwatt.files import write_json

STUDY = Path(__file__).parents[2] / "experiments" / "studies" / "push-vs-pull.toml"


def realistic(path: Path, spec: Spec) -> Path:
    """Write the bundle into the new folder *path* and return it."""
    plan, finish = synthetic._plan, Writer.finish

    def with_study(spec: Spec, rng: np.random.Generator) -> dict[str, Any]:
        return plan(spec, rng) | {"definition": tomllib.loads(STUDY.read_text())}

    def with_notes(writer: Writer) -> Any:
        for run in writer.runs:
            gate = {"waited_seconds": 4.0, "cores": 0.41, "baseline_cores": 0.4}
            key = "runner" if run.arm == "push" else "flux"
            fetch = {"time": "2026-01-01T00:00:00+00:00", "key": key, "repository": "workload"}
            write_json(writer.path / "log" / f"{run.run_id}.json", {"gate": gate, "fetches": [fetch] * run.commits})
        return finish(writer)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(synthetic, "_plan", with_study)
        patch.setattr(Writer, "finish", with_notes)
        return synthetic.make_bundle(path, spec).path
