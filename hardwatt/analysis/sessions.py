"""Sessions of one protocol, pooled: the session is the unit, as a fresh cluster is where the answer varies.

The interval is the t interval over the means of the sessions. It holds for any spread between sessions, also with few
pairs in each; the random-effects interval of `hardwatt.analysis.pooling` is too short there.
"""

from __future__ import annotations

import itertools
import shlex
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import numpy as np
from numpy.typing import ArrayLike
from scipy import optimize, stats

from hardwatt.analysis import paired
from hardwatt.analysis.contract import as_json
from hardwatt.analysis.figures import Json, count, figure, known, of_estimate, text
from hardwatt.analysis.model import MoreSessions, PooledMachine, PooledSession, PooledSessions, Results
from hardwatt.analysis.pool_verdict import margins, verdict
from hardwatt.analysis.pooling_rules import refuse_strangers, without
from hardwatt.analysis.results import analysed, refuse_among
from hardwatt.analysis.sections import ResultFigure
from hardwatt.bundle.reader import Bundle
from hardwatt.core.errors import LabError
from hardwatt.core.files import write_atomic

SCHEMA: Final = "hardwatt.pool/1"
MORE = (3, 5, 8, 12, 20, 30)
"""Numbers of sessions for which the page shows the interval to expect."""
FEW = 5
FEW_SESSIONS = f"Fewer than {FEW} sessions: the interval is wide because so little is known of the spread between them."
ONE_MACHINE = (
    "All sessions are from one machine: the interval holds for further sessions there, not for another machine."
)
SOME_MACHINES = (
    "Sessions count alike, whichever machine they are from: the interval holds for further sessions on these machines "
    "in these shares, not for a machine that is not among them."
)


@dataclass(frozen=True)
class _Session:
    name: str
    bundle: Bundle
    results: Results

    @property
    def differences(self) -> list[float]:
        return [known(row.difference) for row in self.results.pairs]

    @property
    def mean(self) -> float:
        return float(np.mean(self.differences))

    @property
    def machine(self) -> str:
        """Name of the machine under the node: its anonymous identity; in older bundles the node's name."""
        host = self.bundle.manifest.host
        return str(host.get("machine") or host.get("node", "not recorded"))


def pool_sessions(paths: Sequence[Path | str], output: Path | None = None) -> Json:
    """Pool bundles of one protocol; with *output*, write pool.json there.

    Returns `hardwatt.analysis.model.PooledSessions` as plain dicts and lists. Raises `LabError` for fewer than two
    bundles, and for a bundle that is not a further session of the same protocol on the same kind of processor.
    """
    for path in paths:
        refuse_among(path, output)
    results = pooled_sessions(paths)
    if output:
        write_atomic(output / "pool.json", text(results))
    plain: Json = as_json(results)
    return plain


def pooled_sessions(paths: Sequence[Path | str]) -> PooledSessions:
    """Pool bundles of one protocol and return the typed result without writing it; see `pool_sessions`."""
    folders = [Path(path) for path in paths]
    if len(folders) < 2:
        raise LabError(
            "pooling needs two sessions or more: one answers for this cluster, this hour",
            hint=shlex.join(["hardwatt", "report", *map(str, folders)]),
        )
    named = [(str(folder), Bundle.open(folder)) for folder in folders]
    for _, bundle in named:
        bundle.verify()
    refuse_strangers(named)
    sessions = [_Session(name, bundle, analysed(name)) for name, bundle in named]
    _refuse_without_pairs(sessions)
    return _pooled(sessions)


def _refuse_without_pairs(sessions: Sequence[_Session]) -> None:
    seen: dict[tuple[float, ...], str] = {}
    names = [session.name for session in sessions]
    for place, session in enumerate(sessions):
        if not session.differences:
            raise LabError(f"{session.name} has no complete pair", hint=without(names, place))
        values = tuple(session.differences)
        if values in seen:
            raise LabError(
                f"{seen[values]} and {session.name} hold the same data: every difference is equal",
                hint=without(names, place),
            )
        seen[values] = session.name


def _pooled(sessions: Sequence[_Session]) -> PooledSessions:
    first = sessions[0].results
    level, unit = known(first.primary.level) / 100, first.primary.estimate.unit
    means = [session.mean for session in sessions]
    estimate = paired.mean_difference(means, level)
    manifest = sessions[0].bundle.manifest
    margin = sessions[0].bundle.plan.primary.model_dump().get("margin")
    tested = margins(means, margin, unit)
    return PooledSessions(
        schema=SCHEMA,
        study=first.study.title,
        protocol_sha256=str(manifest.protocol_sha256),
        arms=[arm.name for arm in first.arms],
        outcome=first.primary.outcome,
        direction=first.primary.direction,
        level=first.primary.level,
        n=count(len(sessions), "sessions", "bundles"),
        estimate=of_estimate(estimate, unit, "mean of the sessions' means", _share(sessions)),
        method=f"mean of the sessions' means, t interval with {len(sessions) - 1} degrees of freedom",
        verdict=verdict(estimate, tested),
        margins=tested,
        within=_within(sessions, unit),
        between=_between(sessions, unit, level),
        between_machines=_between_machines(sessions, unit),
        sessions=[_row(session) for session in sessions],
        machines=_machines(sessions, unit),
        more=[_more(means, number, unit, level) for number in MORE if number > len(sessions)],
        notes=_notes(sessions),
    )


def _share(sessions: Sequence[_Session]) -> float | None:
    """Share by which one kind of counter is off in all sessions alike: more sessions do not make it smaller."""
    known = [session.results.source.accuracy for session in sessions]
    if any(session.results.primary.estimate.systematic is None for session in sessions):
        return None
    return max((known_share.value or 0.0 for known_share in known if known_share), default=0.0) / 100


def _row(session: _Session) -> PooledSession:
    manifest = session.bundle.manifest
    runs = [run for run in session.bundle.runs if run.status == "done"]
    started = min(run.t0_ms for run in runs) / 1000
    return PooledSession(
        name=session.name,
        session=str(manifest.session),
        machine=session.machine,
        started=str(np.datetime64(int(started), "s")) + "Z",
        n=session.results.n,
        estimate=session.results.primary.estimate,
        warnings=[check.name for check in session.results.checks if check.status != "ok"],
        before=str(manifest.host.get("before_session", "not recorded")),
    )


def _within_variance(sessions: Sequence[_Session]) -> float | None:
    """Variance of paired differences inside sessions, pooled; None if no session has two pairs."""
    groups = [np.array(session.differences) for session in sessions]
    degrees = sum(group.size - 1 for group in groups)
    return float(sum(((group - group.mean()) ** 2).sum() for group in groups)) / degrees if degrees else None


def _within(sessions: Sequence[_Session], unit: str) -> ResultFigure:
    variance = _within_variance(sessions)
    if variance is None:
        return figure(None, unit, "one pair in each session: no spread within")
    return figure(variance**0.5, unit, "standard deviation of paired differences within sessions")


def _between(sessions: Sequence[_Session], unit: str, level: float) -> ResultFigure:
    """Standard deviation between sessions beyond what the pairs explain, with the interval of the Q profile."""
    variance, means = _within_variance(sessions), np.array([session.mean for session in sessions])
    if not variance:
        return figure(None, unit, "one pair in each session, or no spread: sessions and pairs cannot be told apart")
    errors = variance / np.array([len(session.differences) for session in sessions])
    value, low, high = between_sessions(means, errors, level)
    return figure(value, unit, "standard deviation between sessions; interval by the Q profile", low, high)


def between_sessions(means: ArrayLike, errors: ArrayLike, level: float = paired.LEVEL) -> tuple[float, float, float]:
    """Return the standard deviation between sessions with its interval.

    The value is that of the sessions' means less what pairs explain, at least zero; the interval is that of
    Viechtbauer (2007): all spreads for which Cochran's Q is between its quantiles.

    Args:
        means: Mean of each session.
        errors: Variance of each mean from its pairs, above zero.
        level: Of the interval.
    """
    y, v = np.asarray(means, dtype=np.float64), np.asarray(errors, dtype=np.float64)
    tail = (1 - level) / 2

    def q(tau_squared: float) -> float:
        weights = 1 / (v + tau_squared)
        return float((weights * (y - (weights * y).sum() / weights.sum()) ** 2).sum())

    def root(quantile: float) -> float:
        if q(0.0) <= quantile:
            return 0.0
        most = float(y.var(ddof=1)) + float(v.max())
        while q(most) > quantile:
            most *= 2
        return float(optimize.brentq(lambda tau_squared: q(tau_squared) - quantile, 0.0, most))

    value = max(0.0, float(y.var(ddof=1)) - float(v.mean()))
    low, high = (root(float(stats.chi2.ppf(share, y.size - 1))) for share in (1 - tail, tail))
    return value**0.5, low**0.5, high**0.5


def _by_machine(sessions: Sequence[_Session]) -> dict[str, list[float]]:
    ordered = sorted(sessions, key=lambda session: session.machine)
    grouped = itertools.groupby(ordered, key=lambda session: session.machine)
    return {machine: [session.mean for session in group] for machine, group in grouped}


def _between_machines(sessions: Sequence[_Session], unit: str) -> ResultFigure:
    """Standard deviation between machines beyond what their sessions explain."""
    groups = [np.array(means) for means in _by_machine(sessions).values()]
    degrees = sum(group.size - 1 for group in groups)
    if len(groups) < 2:
        return figure(None, unit, "one machine")
    if not degrees:
        return figure(None, unit, "one session of each machine: machines and sessions cannot be told apart")
    inside = float(sum(((group - group.mean()) ** 2).sum() for group in groups)) / degrees
    explained = inside * float(np.mean([1 / group.size for group in groups]))
    excess = float(np.var([group.mean() for group in groups], ddof=1)) - explained
    return figure(max(0.0, excess) ** 0.5, unit, "standard deviation between machines beyond that of their sessions")


def _machines(sessions: Sequence[_Session], unit: str) -> list[PooledMachine]:
    return [
        PooledMachine(
            name=machine,
            n=count(len(means), "sessions", "bundles"),
            mean=figure(float(np.mean(means)), unit, "mean of the machine's sessions"),
        )
        for machine, means in _by_machine(sessions).items()
    ]


def _more(means: Sequence[float], number: int, unit: str, level: float) -> MoreSessions:
    """Return half the width of the interval to expect of *number* sessions that scatter like these."""
    spread = float(np.std(means, ddof=1))
    half = float(stats.t.ppf(0.5 + level / 2, number - 1)) * spread / number**0.5
    sessions = count(number, "sessions", "asked")
    return MoreSessions(sessions, figure(half, unit, "t times this spread of the means by the root of the number"))


def _notes(sessions: Sequence[_Session]) -> list[str]:
    notes = [ONE_MACHINE if len(_by_machine(sessions)) == 1 else SOME_MACHINES]
    if len(sessions) < FEW:
        notes.append(FEW_SESSIONS)
    versions = [dict(session.bundle.manifest.versions) for session in sessions]
    names = sorted({name for each in versions for name in each})
    if differing := [name for name in names if len({each.get(name) for each in versions}) > 1]:
        notes.append(f"Versions that differ between sessions: {', '.join(differing)}.")
    return notes
