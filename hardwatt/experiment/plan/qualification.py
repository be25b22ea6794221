"""Result of ``experiment.qualify`` for a machine: both arms against themselves, known loads, attempts."""

import dataclasses
import datetime
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from hardwatt.config.lab import Lab
from hardwatt.core import state_files
from hardwatt.core.files import write_json
from hardwatt.experiment.plan.machine_noise import Rung, SameTwice
from hardwatt.experiment.plan.noise_curve import NoiseCurve
from hardwatt.experiment.plan.planned_noise import in_window
from hardwatt.experiment.plan.sample_size import detectable
from hardwatt.experiment.plan.study_model import UNITS

FILE, SCHEMA = "qualification.json", 2
HISTORY = "qualify-attempts.json"
CITED_PAIRS = 20
"""Number of pairs for which the sentence gives the smallest difference; that of a full run of most studies."""
QUALIFIED = "qualified"


@dataclasses.dataclass(frozen=True)
class Attempt:
    """One try to qualify the machine, whatever came of it."""

    at: str
    result: str
    """``qualified``, or why not."""
    bundles: Mapping[str, str] = dataclasses.field(default_factory=dict)

    @classmethod
    def from_dict(cls, data: Mapping[str, Any]) -> "Attempt":
        """Return what ``dataclasses.asdict`` gave."""
        bundles = {str(kind): str(path) for kind, path in state_files.mapping(data["bundles"]).items()}
        return cls(state_files.text(data["at"]), state_files.text(data["result"]), bundles)


@dataclasses.dataclass(frozen=True)
class Qualification:
    """One machine, one day."""

    at: str
    source: str
    minutes: float
    """Time that was asked for."""
    pairs: Mapping[str, int]
    """Pairs of windows, by ``noise`` and ``ladder``."""
    curve: NoiseCurve
    same: tuple[SameTwice, ...]
    """The A/A of each arm."""
    ladder: tuple[Rung, ...]
    slot_seconds: float
    """Length of a slot of the ladder."""
    bundles: Mapping[str, str]
    warnings: tuple[str, ...]
    """Host checks that warned."""
    versions: Mapping[str, str]
    earlier: tuple[Attempt, ...] = ()
    """All attempts before this one on this machine, in order."""

    @property
    def problems(self) -> list[str]:
        """Return why this machine is not qualified, in sentences; empty where it is."""
        return [
            *(_wide(same) for same in self.same if not same.equivalent),
            *(_missed(rung) for rung in self.ladder if not rung.recovered),
            *(
                f"not even {rungs[-1].cpu_seconds:g} CPU-s are told apart from none ({_interval(rungs[-1])})"
                for rungs in self.rungs.values()
                if rungs[-1].recovered and not rungs[-1].seen
            ),
        ]

    @property
    def rungs(self) -> dict[str, list[Rung]]:
        """Return the ladder by outcome, the smallest load first."""
        rungs: dict[str, list[Rung]] = {}
        for rung in sorted(self.ladder, key=lambda rung: rung.cpu_seconds):
            rungs.setdefault(rung.outcome, []).append(rung)
        return rungs

    @property
    def least_seen(self) -> float | None:
        """The smallest load in CPU-s from which on all loads were recovered and told apart from none."""
        least = None
        for rung in reversed(self.rungs.get("node_cpu_seconds", [])):
            if not rung.seen:
                break
            least = rung.cpu_seconds
        return least

    def tells_apart(self) -> dict[float, float]:
        """Return, by length of window in seconds, the smallest difference in CPU-s that is claimed for 20 pairs.

        From the noise of both arms at that length, and never less than the smallest load that was recovered.
        """
        least, claims = self.least_seen, {}
        for seconds, rows in self.curve.of().items():
            smallest = detectable(in_window(list(rows.values())), CITED_PAIRS)
            if least is not None and smallest is not None:
                claims[seconds] = max(least, smallest)
        return claims

    @property
    def result(self) -> str:
        """Return the entry of this attempt in the list of attempts."""
        return f"not qualified: {'; '.join(self.problems)}" if self.problems else QUALIFIED

    @property
    def sentence(self) -> str:
        """The sentence to cite; "no claim" with its reasons where the machine is not qualified."""
        start = f"On this machine, on {self.at[:10]},"
        ladder = f"Known loads in windows of {self.slot_seconds:g} s: {'; '.join(_rung(rung) for rung in self.ladder)}."
        if self.problems:
            return f"{start} no claim can be made: {'; '.join(self.problems)}. {ladder} {self.attempts}"
        claims = "; ".join(
            f"a window of {seconds:g} s tells differences of {claim:.2g} CPU-s apart"
            for seconds, claim in self.tells_apart().items()
        )
        return (
            f"{start} {claims} ({CITED_PAIRS} pairs, power 0.8 at a two-sided level of 0.05, from the upper 80 % bound "
            f"of the noise of both arms; not less than the smallest load that was recovered). {ladder} {self.attempts}"
        )

    @property
    def attempts(self) -> str:
        """Say how often the machine was tried, with the result of each attempt."""
        if not self.earlier:
            return "It was the only attempt on this machine."
        before = "; ".join(f"{number}, {each.at[:10]}: {each.result}" for number, each in enumerate(self.earlier, 1))
        return f"It was attempt {len(self.earlier) + 1} on this machine; the others: {before}."

    def attempt(self) -> Attempt:
        """Return the entry of this qualification in the list of attempts."""
        return Attempt(self.at, self.result, self.bundles)

    def to_dict(self) -> dict[str, Any]:
        """Return what ``qualification.json`` holds."""
        fields = {**dataclasses.asdict(self), "curve": self.curve.to_dict()}
        return {"schema": SCHEMA, **fields, "sentence": self.sentence, "problems": self.problems}

    @classmethod
    def from_dict(cls, data: Mapping[str, Any]) -> "Qualification":
        """Return what ``to_dict`` gave. Raises ``TypeError``, ``KeyError`` or ``ValueError`` for another shape."""
        fields = {key: value for key, value in data.items() if key not in ("schema", "sentence", "problems")}
        same = tuple(state_files.typed(SameTwice, row) for row in state_files.entries(fields["same"]))
        ladder = tuple(state_files.typed(Rung, row) for row in state_files.entries(fields["ladder"]))
        earlier = tuple(Attempt.from_dict(row) for row in state_files.entries(fields["earlier"]))
        curve, warnings = NoiseCurve.from_dict(fields["curve"]), tuple(map(str, fields["warnings"]))
        datetime.datetime.fromisoformat(fields["at"])
        more = {"curve": curve, "same": same, "ladder": ladder, "earlier": earlier, "warnings": warnings}
        return cls(**{**fields, **more})


def _wide(same: SameTwice) -> str:
    unit, more = UNITS[same.outcome], same.more_windows
    start = (
        f"two windows of {same.arm} that are the same differ by {same.mean:.2g} {unit} in {same.window_seconds:g} s "
        f"(90 % interval {same.low:.2g} to {same.high:.2g}), and the interval is not inside the margin of "
        f"±{same.margin:.2g} {unit}"
    )
    if more is None:
        return f"{start}; more windows do not mend that, as the mean itself is outside"
    return f"{start}: it takes about {more} more windows of {same.arm}"


def _missed(rung: Rung) -> str:
    unit = UNITS[rung.outcome]
    return f"a known load of {rung.known:.3g} {unit} was measured as {rung.measured:.3g} {unit} ({_interval(rung)})"


def _interval(rung: Rung) -> str:
    return f"{rung.low:.2g} to {rung.high:.2g}"


def _rung(rung: Rung) -> str:
    how = "" if rung.seen else ", not told apart from none" if rung.recovered else ", not recovered"
    unit = UNITS[rung.outcome]
    known = f"{rung.cpu_seconds:g} CPU-s" + (f" ({rung.known:.3g} J)" if unit == "J" else "")
    return f"{known} measured as {rung.measured:.2g} {unit} ({_interval(rung)}{how})"


def lines(qualification: Qualification) -> Iterator[str]:
    """Yield the curve, the A/A of both arms, and the ladder, a line each."""
    for row in sorted(qualification.curve.rows, key=lambda row: (row.outcome, row.window_seconds, row.arm)):
        unit = UNITS[row.outcome]
        yield (
            f"noise, {row.arm}, {row.window_seconds:g} s: a difference of two windows scatters by "
            f"{row.sd * row.window_seconds / 1000:.3g} {unit}, upper 80 % bound "
            f"{row.sd_upper * row.window_seconds / 1000:.3g} ({row.n - 1} degrees of freedom)"
        )
    for same in qualification.same:
        unit = UNITS[same.outcome]
        fit = "inside" if same.equivalent else "not inside"
        yield (
            f"A/A, {same.arm}: {same.mean:.2g} {unit} in {same.window_seconds:g} s, 90 % interval {same.low:.2g} to "
            f"{same.high:.2g}, {fit} the margin of ±{same.margin:.2g} {unit}; {same.pairs} pairs of windows"
        )
    for rung in qualification.ladder:
        yield f"known load of {_rung(rung)}, {rung.slots} slots; intervals hold for the whole ladder at 95 %"
    yield from (f"WARN  {warning}" for warning in qualification.warnings)


def load(lab: Lab) -> Qualification | None:
    """Return what the lab's machine was qualified for, or None where it never was."""
    what = "the qualification of the lab's machine,"
    return state_files.read(
        lab.dir / FILE, Qualification.from_dict, what=what, then="invoke experiment.qualify", schema=SCHEMA
    )


def save(lab: Lab, qualification: Qualification) -> None:
    """Store a result in the lab's folder, in place of the one before."""
    write_json(lab.dir / FILE, qualification.to_dict())


def attempts(lab: Lab) -> tuple[Attempt, ...]:
    """Return every attempt to qualify the lab's machine so far, in order."""
    what = "the list of attempts to qualify the lab's machine,"
    stored = state_files.read(lab.dir / HISTORY, _attempts, what=what, then="invoke experiment.qualify")
    return stored or ()


def _attempts(value: Any) -> tuple[Attempt, ...]:
    return tuple(Attempt.from_dict(row) for row in state_files.entries(value))


def remember(lab: Lab, attempt: Attempt) -> None:
    """Add an attempt to the list."""
    rows: Sequence[Attempt] = (*attempts(lab), attempt)
    write_json(lab.dir / HISTORY, [dataclasses.asdict(row) for row in rows])
