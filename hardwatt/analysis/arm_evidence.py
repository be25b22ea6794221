"""Traces of what ran in a window: which key fetched from git, whose pods used CPU time, whether Flux worked.

An arm's name is what somebody wrote. Flux's controllers run in a window of pull and not in one of push; a CI job's pod
runs in a window of push and not in one of pull. A window whose traces are another arm's does not count.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

from hardwatt.analysis import runlog
from hardwatt.bundle.frames import pl
from hardwatt.bundle.model import Run
from hardwatt.bundle.reader import Bundle
from hardwatt.core.errors import VerifyError
from hardwatt.instruments.readings import scraped

FLUX_DELIVERS, FLUX_RUNS, JOBS_DELIVER, NOTHING = "flux", "flux-idle", "jobs", "nothing"
KINDS: Mapping[str, str] = {
    "pull": FLUX_DELIVERS,
    "reconcile": FLUX_DELIVERS,
    "off": FLUX_RUNS,
    "suspended": FLUX_RUNS,
    "push": JOBS_DELIVER,
    "reapply": JOBS_DELIVER,
    "push-ci": JOBS_DELIVER,
    "burn": NOTHING,
    "kepler": NOTHING,
    "none": NOTHING,
}
"""Arm of the checkout -> what delivers in its windows. Arms that a level decides, and arms of others, have no entry."""
CI, FLUX = "ci", "flux-system"
CONTROLLERS = ("source-controller-", "kustomize-controller-")
WORKED = ("gotk_reconcile_duration_seconds_count",)
PODS = "container_cpu_usage_seconds_total"
LEAST = 1e-3
"""CPU-seconds: a pod that used more ran in the window."""


@dataclass(frozen=True)
class Traces:
    """Traces of one run; a field is None where the bundle has no such trace of the run."""

    bundle: Bundle
    run: Run

    @cached_property
    def keys(self) -> frozenset[str] | None:
        """Keys under which somebody fetched from the git server."""
        fetches = runlog.read(self.bundle, self.run).get("fetches")
        return frozenset(str(fetch.get("key", "")) for fetch in fetches) if isinstance(fetches, list) else None

    @cached_property
    def pods(self) -> frozenset[tuple[str, str]] | None:
        """Namespace and name of each pod that used CPU time in the window."""
        return self._recorded if self.run.run_id in self.bundle.manifest.recordings else self._scraped

    @property
    def _recorded(self) -> frozenset[tuple[str, str]] | None:
        try:
            recording = self.bundle.recording(self.run.run_id)
        except VerifyError:
            return None
        if recording is None or not recording.of("pod"):
            return None
        first, last = (recording.nearest(moment) for moment in (self.run.t0_ms, self.run.t1_ms))
        rises = []
        for counter in recording.of("pod"):
            begin = first if counter.from_zero else max(first, counter.first_tick)
            rises.append((counter, counter.rise(begin, last) * counter.scale if last >= begin else 0.0))
        return frozenset((counter.namespace, counter.pod) for counter, rise in rises if rise > LEAST)

    @property
    def _scraped(self) -> frozenset[tuple[str, str]] | None:
        samples = self._inside(PODS)
        if samples.is_empty():
            return None
        rises = samples.group_by("series_id").agg(rise=pl.col("value").max() - pl.col("value").min())
        used = rises.filter(pl.col("rise") > LEAST)["series_id"].to_list()
        labels = [self.bundle.series[number] for number in used]
        return frozenset((row.get("namespace", ""), row.get("pod", "")) for row in labels if row.get("pod"))

    @cached_property
    def reconciled(self) -> bool | None:
        """True if a controller of Flux reconciled something in the window."""
        parts = [self._inside(metric) for metric in WORKED]
        samples = pl.concat(part for part in parts)
        if samples.is_empty():
            return None
        rises = samples.group_by("series_id").agg(rise=pl.col("value").max() - pl.col("value").min())
        most: Any = rises["rise"].max()
        return float(most) > 0

    def _inside(self, metric: str) -> pl.DataFrame:
        inside = pl.col("ts").is_between(self.run.t0_ms, self.run.t1_ms)
        return scraped(self.bundle, self.run, metric).filter(inside & pl.col("value").is_finite())

    @property
    def jobs(self) -> list[str]:
        """Signs of a CI job."""
        signs = ["a CI job fetched from the git server"] if "runner" in (self.keys or ()) else []
        ran = [pod for space, pod in sorted(self.pods or ()) if space == CI]
        return signs + ([f"the pod {ran[0]} of a CI job used CPU time"] if ran else [])

    @property
    def flux(self) -> list[str]:
        """Signs of Flux at work."""
        signs = ["Flux fetched from the git server"] if "flux" in (self.keys or ()) else []
        ran = [pod for space, pod in sorted(self.pods or ()) if space == FLUX and pod.startswith(CONTROLLERS)]
        signs += [f"the pod {ran[0]} of Flux used CPU time"] if ran else []
        return signs + (["Flux reconciled"] if self.reconciled else [])


def unlike_arms(bundle: Bundle, runs: Sequence[Run]) -> Iterator[tuple[str, str]]:
    """Yield the runs whose traces are not those of their arm, each with its reason."""
    traces = {run.run_id: Traces(bundle, run) for run in runs if _kind(bundle, run.arm)}
    shown = {
        "Flux": any(trace.flux for trace in traces.values()),
        "a CI job": any(trace.jobs for trace in traces.values()),
    }
    for run in runs:
        if run.run_id not in traces:
            continue
        trace, kind = traces[run.run_id], _kind(bundle, run.arm)
        with_flux = kind in (FLUX_DELIVERS, FLUX_RUNS)
        if signs := trace.jobs if with_flux else trace.flux:
            yield run.run_id, f"its arm is {run.arm}, and {signs[0]} in its window"
        own, wanted = (trace.flux, "Flux") if with_flux else (trace.jobs, "a CI job")
        if kind != NOTHING and not own and shown[wanted] and (with_flux or run.commits):
            yield run.run_id, f"its arm is {run.arm}, and its window has no trace of {wanted}, other windows have"


def _kind(bundle: Bundle, arm: str) -> str:
    """Return what delivers in an arm; empty where its name does not tell."""
    definition = (bundle.plan.model_extra or {}).get("definition")
    settings = definition.get("arm") if isinstance(definition, Mapping) else None
    setting = settings.get(arm) if isinstance(settings, Mapping) else None
    used = setting.get("use") if isinstance(setting, Mapping) else None
    return KINDS.get(str(used or arm), "")
