"""Tables of meters and power models for the person at the terminal."""

import dataclasses
import json
import os
import platform
from pathlib import Path

from rich.console import Console
from rich.table import Table

from hardwatt.core.errors import SettingsError, VerifyError
from hardwatt.core.progress import cells
from hardwatt.meter import sources
from hardwatt.meter.models import Model, cloud_instance, load_models, model_problems, parse_cpuinfo, select_model
from hardwatt.meter.node_config import ROOT
from hardwatt.meter.sources import Sources, Zone

NODE_ROOTS = ("/sys", f"{ROOT}/sysfs")
"""Roots of a node's zones: its own, and the tree that the meter writes."""


def zones_text(watched: Sources) -> str:
    """Return the zones as a table, with the sentence that says which of them count."""
    sources.refuse_none(watched)
    table = Table("zone", "name", "watts now", "updates/s", "wraps in", "counts", "own error", "covers", "state")
    for zone in watched.zones:
        table.add_row(*cells(
            zone.entry, zone.name, _number(zone.watts, "{:.1f}"), _updates(zone), _duration(zone.wraps_in),
            "yes" if zone.counted else "no", _accuracy(zone), zone.covers, _state(zone),
        ))  # fmt: skip
    known = {zone.accuracy for zone in watched.zones if zone.accuracy}
    sources_told = "".join(
        f"\nown error: {accuracy.source}" for accuracy in sorted(known, key=lambda each: each.source)
    )
    return f"energy counters of {watched.place}\n{_rendered(table)}\n{watched.sentence}{sources_told}"


def zones_json(watched: Sources) -> str:
    """Return the zones as JSON."""
    rows = [zone.to_dict() for zone in watched.zones]
    return json.dumps(
        {"machine": watched.place, "source": watched.source, "sentence": watched.sentence, "zones": rows}, indent=2
    )


def _state(zone: Zone) -> str:
    return f"{zone.problem}; {zone.remedy}" if zone.problem else "works"


def _accuracy(zone: Zone) -> str:
    return f"up to {zone.accuracy.share:.0%}".replace("%", " %") if zone.accuracy else "not known"


def _updates(zone: Zone) -> str:
    return ("at least " if zone.at_least else "") + _number(zone.updates, "{:.0f}")


def _number(value: float | None, shape: str) -> str:
    return "-" if value is None else shape.format(value)


def _duration(seconds: float | None) -> str:
    return "-" if seconds is None else f"{seconds / 60:.0f} min" if seconds < 36_000 else f"{seconds / 3600:.0f} h"


@dataclasses.dataclass(frozen=True)
class Processor:
    """A machine's processor, as power models are chosen for it."""

    cpus: int
    info: str
    """Text of /proc/cpuinfo."""
    instance: str
    """Type of the cloud instance; empty: none, or its firmware does not say."""
    place: str
    """The machine, in words."""

    @classmethod
    def here(cls) -> "Processor":
        """Return this machine's."""
        return cls(os.cpu_count() or 1, _cpuinfo(), _instance(), sources.HERE)


def models_text(name: str = "", processor: Processor | None = None) -> str:
    """Return one power model in full, or all of them with the one that ``auto`` takes for a processor marked.

    The processor is this machine's by default. Raise SettingsError for an unknown name.
    """
    processor = processor or Processor.here()
    own = select_model("auto", processor.info, processor.instance)
    if name:
        return _model_text(own if name == "auto" else select_model(name), processor)
    table = Table("model", "watts idle", "watts full", "beside it", "processor", "source")
    for model in load_models().values():
        mark = " (auto)" if model.name == own.name else ""
        idle, full = model.points_per_cpu[0][1], model.points_per_cpu[-1][1]
        text = "assumption" if model.assumption else "published"
        zones = ", ".join(model.zones_per_cpu) or "-"
        table.add_row(model.name + mark, f"{idle:.3f}", f"{full:.3f}", zones, model.title, text)
    return (
        f"{_rendered(table)}\nauto: on {processor.place}\n"
        "watts for each hardware thread; invoke meter.model show --name NAME: points and source"
    )


def _model_text(model: Model, processor: Processor) -> str:
    cpus = processor.cpus
    lines = [f"{model.name}: {model.title}", f"covers: {model.covers}", f"source: {model.source}"]
    for zone, points in {"package": model.points(cpus), **model.zones(cpus)}.items():
        lines += [
            f"  {zone}, utilisation {load:4.0%}: {watts:.2f} W with {cpus} CPUs, as {processor.place} has"
            for load, watts in points
        ]
    return "\n".join([*lines, "a derived figure: a function of CPU-seconds, not a measurement of energy"])


def check_models(file: str = "") -> str:
    """Return one line on a file of power models (the shipped one by default); raise VerifyError with every fault."""
    path = Path(file) if file else Path(__file__).parent / "models.toml"
    if not path.exists():
        raise SettingsError(f"there is no file {path}", hint="invoke meter.model check --file models.toml")
    if problems := model_problems(path):
        raise VerifyError(f"{path}:\n" + "\n".join(f"  {problem}" for problem in problems), hint="mend the file")
    models = load_models(path)
    cpu = parse_cpuinfo(_cpuinfo())
    fitting = [model.name for model in models.values() if model.fits(cpu)]
    name = cpu.name or "the processor"
    here = f"{', '.join(fitting) or 'none'} fits {name} of {sources.HERE}"
    return f"{path.name}: {len(models)} models, no problem; {here}"


def _cpuinfo() -> str:
    file = Path("/proc/cpuinfo")
    return file.read_text() if file.exists() else f"model name: {platform.processor()}\n"


def _instance() -> str:
    """Return the type of the cloud instance that this machine is; empty where its firmware does not say."""
    files = [Path("/sys/class/dmi/id") / name for name in ("sys_vendor", "product_name")]
    return cloud_instance(*(file.read_text() for file in files)) if all(file.exists() for file in files) else ""


def _rendered(table: Table) -> str:
    console = Console(width=180 if not os.isatty(1) else None)
    with console.capture() as captured:
        console.print(table)
    return captured.get().rstrip()
