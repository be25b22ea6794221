"""The node's meter, as deploys need it: its files, its configuration, and the power models as data.

The daemon itself is ``hardwatt_meter.py`` beside this file; it runs on the node with the files of ``node_config``.
"""

import tomllib
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from hardwatt.core.errors import SettingsError, VerifyError
from hardwatt.meter import meter_config

FOLDER = Path(__file__).parent

Points = tuple[tuple[float, float], ...]


@dataclass(frozen=True)
class Cpu:
    """A processor, as /proc/cpuinfo describes its first thread."""

    vendor: str
    family: int
    model: int
    stepping: int
    name: str


@dataclass(frozen=True)
class Model:
    """Watts by utilisation. ``points_per_cpu`` are (utilisation 0..1, watts for each CPU) of the package.

    ``zones_per_cpu`` has those of further zones (dram, core, uncore). ``cpu`` and ``instances`` (families of cloud
    instances) say what it is for.
    """

    name: str
    title: str
    points_per_cpu: Points
    zones_per_cpu: Mapping[str, Points]
    covers: str
    source: str
    assumption: bool
    cpu: Mapping[str, Any]
    instances: tuple[str, ...]

    def points(self, cpus: int) -> list[list[float]]:
        """Return (utilisation, watts of the package of a node with ``cpus`` CPUs)."""
        return _of_node(self.points_per_cpu, cpus)

    def zones(self, cpus: int) -> dict[str, list[list[float]]]:
        """Return the same of each further zone."""
        return {name: _of_node(points, cpus) for name, points in self.zones_per_cpu.items()}

    def fits(self, cpu: Cpu) -> bool:
        """Tell whether the model is for this processor."""
        want = self.cpu
        if not want or (want["vendor"], want["family"], want["model"]) != (cpu.vendor, cpu.family, cpu.model):
            return False
        return "steppings" not in want or cpu.stepping in want["steppings"]

    def fits_instance(self, instance: str, cpu: Cpu) -> bool:
        """Tell whether the model is for this type of cloud instance, on the processor that it has here."""
        return instance.partition(".")[0] in self.instances and self.fits(cpu)

    def config(self, cpus: int) -> dict[str, Any]:
        """Return the model as the daemon's configuration has it."""
        zones = self.zones(cpus)
        return {"name": self.name, "points": self.points(cpus), **({"zones": zones} if zones else {})}

    def record(self, cpus: int) -> dict[str, object]:
        """Return what a bundle's manifest says of the model: enough to compute its joules again."""
        about = {"title": self.title, "covers": self.covers, "source": self.source, "assumption": self.assumption}
        return {**self.config(cpus), "cpus": cpus, **about}


def _of_node(points: Points, cpus: int) -> list[list[float]]:
    return [[load, round(watts * cpus, 6)] for load, watts in points]


def load_models(path: Path = FOLDER / "models.toml") -> dict[str, Model]:
    """Return every power model by its name; raise VerifyError where one has neither a source nor says so."""
    document = tomllib.loads(path.read_text())
    if problems := _problems(document):
        raise VerifyError("; ".join(problems))
    return {name: _model(name, entry, document["sources"]) for name, entry in document["models"].items()}


def _model(name: str, entry: Mapping[str, Any], sources: Mapping[str, Any]) -> Model:
    assumption = bool(entry.get("assumption", False))
    source = sources.get(entry.get("source", ""), {})
    text = f"assumption: {entry['reason']}" if assumption else f"{source['title']}, {source['url']}"
    points = {
        zone: tuple((float(load), float(watts)) for load, watts in pairs) for zone, pairs in _per_cpu(entry).items()
    }
    return Model(
        name=name,
        title=entry["title"],
        points_per_cpu=points.pop("package"),
        zones_per_cpu=points,
        covers=entry["covers"],
        source=text,
        assumption=assumption,
        cpu=entry.get("cpu", {}),
        instances=tuple(entry.get("instances", ())),
    )


def _per_cpu(entry: Mapping[str, Any]) -> dict[str, list[list[float]]]:
    """Return the points of each zone for one CPU; a whole machine's are divided by its threads."""
    if "machine" not in entry:
        return {"package": entry["points_per_cpu"]}
    threads = entry["threads"]
    return {zone: [[load, watts / threads] for load, watts in points] for zone, points in entry["machine"].items()}


def model_problems(path: Path) -> list[str]:
    """Return every fault of a file of power models, each with the model's name; empty where it is good."""
    try:
        return _problems(tomllib.loads(path.read_text()))
    except tomllib.TOMLDecodeError as error:
        return [f"not TOML: {error}"]


def _problems(document: Mapping[str, Any]) -> list[str]:
    sources, problems = document.get("sources", {}), []
    for name, entry in document.get("models", {}).items():
        missing = [key for key in ("title", "covers") if key not in entry]
        faults = [f"needs {', '.join(missing)}"] if missing else []
        assumption = bool(entry.get("assumption", False))
        if assumption == (entry.get("source", "") in sources):
            faults.append("needs either a known source, or assumption = true")
        if assumption and "reason" not in entry:
            faults.append("an assumption needs a reason")
        faults += _problems_of_points(name, entry)
        cpu = entry.get("cpu", {})
        if cpu and not {"vendor", "family", "model"} <= set(cpu):
            faults.append("cpu needs vendor, family and model")
        if entry.get("instances") and not cpu:
            faults.append("a model for cloud instances needs cpu: one type may have several processors")
        problems += [f"power model {name}: {fault}" for fault in faults]
    return problems or ([] if document.get("models") else ["there is no power model in it"])


def _problems_of_points(name: str, entry: Mapping[str, Any]) -> list[str]:
    if ("points_per_cpu" in entry) == ("machine" in entry):
        return ["needs either points_per_cpu, or machine with threads"]
    if "machine" in entry and not (isinstance(entry.get("threads"), int) and entry["threads"] > 0):
        return ["machine needs threads, a whole number above zero"]
    try:
        zones = _per_cpu(entry)
        points = zones.pop("package")
    except (AttributeError, TypeError, ValueError):
        return ["machine is no table of zones with pairs of numbers"]
    except KeyError:
        return ["machine needs the zone package"]
    return meter_config.check_model({"name": name, "points": points, **({"zones": zones} if zones else {})})


def parse_cpuinfo(text: str) -> Cpu:
    """Return the processor that the text of /proc/cpuinfo describes; what it does not say is empty or -1."""
    first = text.split("\n\n", 1)[0]
    fields = {key.strip(): value.strip() for key, _, value in (line.partition(":") for line in first.splitlines())}

    def number(key: str) -> int:
        return int(fields[key]) if fields.get(key, "").isdigit() else -1

    vendor, name = fields.get("vendor_id", ""), fields.get("model name", "")
    return Cpu(vendor, number("cpu family"), number("model"), number("stepping"), name)


def select_model(name: str, cpuinfo: str = "", instance: str = "") -> Model:
    """Return the model ``name``; "auto" takes the one for the node's type of cloud instance (empty: none) with its
    processor, else the one for its processor, else the generic one.

    Raise SettingsError with the nearest name where there is no such model.
    """
    models = load_models()
    if name == "auto":
        cpu = parse_cpuinfo(cpuinfo)
        rented = (model for model in models.values() if model.fits_instance(instance, cpu))
        owned = (model for model in models.values() if not model.instances and model.fits(cpu))
        return next(rented, None) or next(owned, None) or models["generic"]
    if name not in models:
        from hardwatt.core.nearest import did_you_mean  # for the mistake alone

        near = did_you_mean(name, [*models, "auto"], "models")
        raise SettingsError(f"meter.model: there is no power model {name!r}; {near}", hint="invoke meter.model show")
    return models[name]


def cloud_instance(vendor: str, product: str) -> str:
    """Return the type of a cloud instance by what its firmware says (sys_vendor, product_name); empty: unknown.

    EC2 on Nitro writes its type there; other clouds write only their own name.
    """
    return product.strip() if vendor.strip() == "Amazon EC2" and "." in product else ""
