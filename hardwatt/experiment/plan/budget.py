"""Windows, pairs and sessions that fit a time, chosen before anything runs, and what they can detect.

A session is a baseline and blocks of one window of each arm; a series is sessions and what comes between them. Times
count every wait that a run is known to need: settling, gates, the phase's longest delay, and making the lab anew.
"""

import dataclasses
import math
from collections.abc import Iterator, Mapping, Sequence
from functools import cached_property

from hardwatt.core.errors import LabError, SettingsError
from hardwatt.experiment.plan.noise_curve import UNITS, NoiseCurve, NoiseRow, pair_sd
from hardwatt.experiment.plan.preregistration import duration
from hardwatt.experiment.plan.sample_size import detectable, detectable_in_sessions
from hardwatt.experiment.plan.study_file import problems, square_size
from hardwatt.experiment.plan.study_model import Study, override

LEAST_PAIRS, MOST_PAIRS = 2, 500
"""Two pairs, so that a session shows how its pairs scatter and each of two arms can come first."""
MOST_SESSIONS = 60
QUALIFY = "invoke experiment.qualify"


@dataclasses.dataclass(frozen=True)
class Noise:
    """Noise of one difference between arms at one length of window, per second of it."""

    sd: float
    """Standard deviation of a pair's difference: the upper 80 % bound of the A/A series."""
    between: float | None
    """Standard deviation between sessions; None: not measured."""
    pair_seconds: float
    """Longest mean time of a pair of windows that was seen at this length; 0: not recorded."""
    instead_of: tuple[str, ...] = ()
    """Arms without a series of their own, for which the noisiest other one stands."""

    @property
    def assumed_between(self) -> float:
        """The spread between sessions to plan with: as large as that of pairs, where nobody has measured it."""
        return self.sd if self.between is None else self.between


@dataclasses.dataclass(frozen=True)
class Budget:
    """Choice of pairs, window and sessions. Session and between are in seconds."""

    study: Study
    """With the chosen length of window and its commits."""
    pairs: int
    sessions: int
    session_seconds: float
    between_seconds: float
    noise: Noise | None = None

    @property
    def total_seconds(self) -> float:
        return self.sessions * self.session_seconds + (self.sessions - 1) * self.between_seconds

    @cached_property
    def detects(self) -> float:
        """Smallest difference seen with power 0.8 at alpha 0.05 by t over sessions; infinite for one session.

        Per second of a window, in the noise curve's unit. With the planned spread between sessions.
        """
        return math.inf if self.noise is None else self._over_sessions(self.noise.assumed_between)

    def _over_sessions(self, between: float) -> float:
        if self.noise is None or self.sessions < 2:
            return math.inf
        return detectable_in_sessions(math.hypot(between, self.noise.sd / math.sqrt(self.pairs)), self.sessions)

    def says(self) -> list[str]:
        """Return the plan and what it can detect, in lines for the person at the terminal, before it starts."""
        study = self.study
        commits = f", {study.trace.commits} commits each" if study.trace.commits else ""
        apart = f" and {duration(self.between_seconds)} between two of them" if self.sessions > 1 else ""
        return [
            f"{_count(self.sessions, 'session')} of {_count(self.pairs, 'pair')}, windows of "
            f"{study.estimand.window_seconds:g} s{commits}: about {duration(self.total_seconds)} in all, "
            f"{duration(self.session_seconds)} a session{apart}, when no run has to be repeated",
            *(f"detectable: {line}" for line in self._detectable()),
        ]

    def _detectable(self) -> Iterator[str]:
        noise = self.noise
        if noise is None:
            yield f"not known, as the noise of this machine was not measured: {QUALIFY} measures its curve"
            return
        if noise.instead_of:
            yield f"the noise curve has no series of {', '.join(noise.instead_of)}: the noisiest arm stands for it"
        if self.sessions < 2:
            yield from self._in_one_session(noise)
            return
        how = f"80 % power, alpha 0.05, t over {self.sessions} sessions"
        if noise.between is not None:
            yield f"{self._amount(self.detects)} ({how}; sessions spread as in the A/A series)"
            return
        yield f"{self._amount(self.detects)} if sessions differ as much as pairs do ({how})"
        yield f"{self._amount(self._over_sessions(0.0))} at best: if sessions differ no more than their pairs explain"

    def _in_one_session(self, noise: Noise) -> Iterator[str]:
        yield "one session answers for this cluster, this hour; what other sessions would give stays open"
        if (value := detectable(noise.sd, self.pairs)) is not None:
            yield f"{self._amount(value)} in this session (80 % power, alpha 0.05, t over {self.pairs} pairs)"
        else:
            yield f"nothing is promised of {_count(self.pairs, 'pair')}: there is no test below six"

    def _amount(self, per_second: float) -> str:
        """Return a difference per second, and per delivery where there are deliveries."""
        outcome, commits = self.study.primary.outcome, self.study.trace.commits
        text = f"{per_second:.3g} {UNITS[outcome]}"
        if not commits:
            return text
        each = per_second / 1000 * self.study.estimand.window_seconds / commits
        return f"{text}, which is {each:.3g} {self.study.primary.unit} per delivery"


def at_length(study: Study, seconds: float) -> Study | None:
    """Return a study with windows of another length and commits at the same rate; None where it does not fit them."""
    own = study.estimand.window_seconds
    if seconds == own:
        return study
    trace = study.trace
    if trace.commits_by_block:
        return None
    commits = max(1, round(trace.commits * seconds / own)) if trace.commits else 0
    while True:
        changed = override(study, {"estimand.window_seconds": seconds, "trace.commits": commits}, "the time given")
        if not problems(changed):
            return changed
        if commits <= 1:
            return None
        commits -= 1


def block_seconds(study: Study, noise: Noise | None = None) -> float:
    """Return how long a block takes at most when each gate opens at its first look, its baseline included."""
    timing = study.timing
    around = study.gate.sample_seconds + timing.transient_seconds + 3 * timing.rollout_seconds + timing.phase_seconds
    planned = study.gate.baseline_seconds + len(study.arms) * (study.estimand.window_seconds + around)
    return max(planned, len(study.arms) / 2 * noise.pair_seconds) if noise else planned


def session_seconds(study: Study, pairs: int, noise: Noise | None = None) -> float:
    """Return how long a session takes, by ``block_seconds``."""
    return study.gate.baseline_seconds + pairs * block_seconds(study, noise)


def noise_of(study: Study, rows: Mapping[str, NoiseRow]) -> Noise:
    """Return the noise of a study's noisiest contrast with its baseline, from the rows of one length of window."""
    missing = tuple(dict.fromkeys(arm for arm in map(study.code_of, study.arms) if arm not in rows))
    noisiest = max(rows.values(), key=lambda row: row.sd_upper)
    own = [rows.get(study.code_of(arm), noisiest) for arm in study.arms]
    between = [row.sd_between for row in own if row.sd_between is not None]
    return Noise(
        sd=max(pair_sd([own[0], other]) for other in own[1:]),
        between=max(between) if len(between) == len(own) else None,
        pair_seconds=max(row.pair_seconds or 0.0 for row in own),
        instead_of=missing,
    )


def _candidates(study: Study, curve: NoiseCurve | None) -> list[tuple[Study, Noise | None]]:
    """Return the study at each length of window whose noise is known; as it is where none is, or none fits it."""
    measured = curve.of(study.primary.outcome) if curve else {}
    sized = [(at_length(study, seconds), rows) for seconds, rows in measured.items()]
    fitting = [(changed, noise_of(changed, rows)) for changed, rows in sized if changed is not None]
    return [*fitting] or [(study, None)]


def of_counts(study: Study, pairs: int, sessions: int, curve: NoiseCurve | None, between_seconds: float) -> Budget:
    """Return the budget of a study with its own windows, and pairs and sessions that were given."""
    rows = curve.of(study.primary.outcome).get(study.estimand.window_seconds) if curve else None
    noise = noise_of(study, rows) if rows else None
    return Budget(study, pairs, sessions, session_seconds(study, pairs, noise), between_seconds, noise)


def for_minutes(
    study: Study,
    minutes: float,
    *,
    sessions: int,
    between_seconds: float,
    curve: NoiseCurve | None = None,
    pairs: int = 0,
) -> Budget:
    """Return the sessions, each of at most so many minutes, that can detect most by the noise curve.

    Without a curve the window stays the study's. Raises ``SettingsError`` naming what would fit.
    """
    _require_time("--session-minutes", minutes)
    limit, candidates = 60 * minutes, _candidates(study, curve)
    budgets = [
        Budget(sized, number, sessions, session_seconds(sized, number, noise), between_seconds, noise)
        for sized, noise in candidates
        if (number := _pairs_in(limit, sized, noise, pairs))
    ]
    if not budgets:
        raise _too_short(
            f"--session-minutes {minutes:g}", "a session", limit, candidates, pairs, 60, "--session-minutes"
        )
    return min(budgets, key=_of_one_session)


def _of_one_session(budget: Budget) -> tuple[float, float]:
    """Return how much one session's mean scatters, and the time; the first decides."""
    scatter = budget.noise.sd / math.sqrt(budget.pairs) if budget.noise else 0.0
    return scatter, budget.session_seconds


def for_hours(
    study: Study,
    hours: float,
    *,
    curve: NoiseCurve | None,
    between_seconds: float,
    minutes: float = 0.0,
    sessions: int = 0,
    pairs: int = 0,
) -> Budget:
    """Return windows, pairs and sessions that detect the smallest difference in so many hours.

    ``minutes`` limits a session, ``sessions`` and ``pairs`` are kept where they are given. Raises ``LabError`` where
    the machine's noise curve is missing, and ``SettingsError`` naming what would fit.
    """
    _require_time("--hours", hours)
    if minutes:
        _require_time("--session-minutes", minutes)
    if curve is None or not curve.of(study.primary.outcome):
        raise LabError(
            f"--hours chooses by the machine's noise, and the noise of {study.primary.outcome} was not measured here",
            hint=QUALIFY,
        )
    candidates = _candidates(study, curve)
    if candidates[0][1] is None:
        lengths = ", ".join(f"{seconds:g}" for seconds in curve.of(study.primary.outcome))
        raise LabError(
            f"the noise curve has windows of {lengths} s, and none of them holds the commits of {study.name}",
            hint=f"{QUALIFY}, or --session-minutes, which keeps the study's windows",
        )
    budgets = list(_in_hours(candidates, 3600 * hours, between_seconds, 60 * minutes, sessions, pairs))
    if not budgets:
        whole = 3600 * hours
        limit = min(whole, 60 * minutes) if minutes else whole
        short, option = (minutes, "--session-minutes") if minutes and limit < whole else (hours, "--hours")
        unit, number = (60 if option == "--session-minutes" else 3600), sessions or 1
        what = "a session" if number == 1 or option == "--session-minutes" else f"{number} sessions"
        raise _too_short(
            f"{option} {short:g}", what, limit, candidates, pairs, unit, option,
            sessions=number if option == "--hours" else 1, between=between_seconds,
        )  # fmt: skip
    return min(budgets, key=lambda budget: (budget.detects, _of_one_session(budget), budget.total_seconds))


def _in_hours(
    candidates: Sequence[tuple[Study, Noise | None]],
    whole: float,
    between: float,
    longest: float,
    sessions: int,
    pairs: int,
) -> Iterator[Budget]:
    for study, noise in candidates:
        for number in [sessions] if sessions else range(1, MOST_SESSIONS + 1):
            limit = (whole - (number - 1) * between) / number
            count = _pairs_in(min(limit, longest) if longest else limit, study, noise, pairs)
            if count:
                yield Budget(study, count, number, session_seconds(study, count, noise), between, noise)


def _pairs_in(limit: float, study: Study, noise: Noise | None, asked: int = 0) -> int:
    """Return how many pairs fit a session of ``limit`` seconds, in whole groups of the order; 0: too few, or none."""
    block, group = block_seconds(study, noise), square_size(study)
    count = min(MOST_PAIRS, math.floor((limit - study.gate.baseline_seconds) / block + 1e-9))
    if asked:
        return asked if asked <= count else 0
    count -= count % group
    return count if count >= _least(study) else 0


def _least(study: Study) -> int:
    group = square_size(study)
    return math.ceil(LEAST_PAIRS / group) * group


def _too_short(
    given: str,
    what: str,
    limit: float,
    candidates: Sequence[tuple[Study, Noise | None]],
    pairs: int,
    unit: int,
    option: str,
    *,
    sessions: int = 1,
    between: float = 0.0,
) -> SettingsError:
    """Return the refusal of a time in which nothing fits, with the least time that would do."""

    def seconds(candidate: tuple[Study, Noise | None]) -> float:
        study, noise = candidate
        return sessions * session_seconds(study, pairs or _least(study), noise) + (sessions - 1) * between

    study, noise = shortest = min(candidates, key=seconds)
    number = pairs or _least(study)
    places = 1 if unit == 60 else 2
    least = math.ceil(seconds(shortest) / unit * 10**places) / 10**places
    return SettingsError(
        f"{given} is too short for {what}: {_count(number, 'pair')} of {study.estimand.window_seconds:g} s windows "
        f"take {duration(session_seconds(study, number, noise))} a session"
        + (f", with {duration(between)} between two" if sessions > 1 else ""),
        hint=f"{option} {least:g} is the least that fits",
    )


def _require_time(option: str, value: float) -> None:
    if not (math.isfinite(value) and 0 < value <= 24 * 366 * 60):
        raise SettingsError(f"{option} is a time above zero, not {value:g}")


def _count(number: int, name: str) -> str:
    return f"{number} {name}" if number == 1 else f"{number} {name}s"
