"""The node's meter, as deploys need it: its files, its configuration, and the power models as data.

The daemon itself is ``hardwatt_meter.py`` beside this file; it runs on the node, alone.
"""

import tomllib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from difflib import get_close_matches
from pathlib import Path
from typing import Any, Literal

from hardwatt.errors import SettingsError, VerifyError
from hardwatt.meter import hardwatt_meter

FOLDER = Path(__file__).parent
ROOT = "/var/lib/hardwatt/meter"
CONFIG = "/etc/hardwatt/meter.json"
NODE_FILES = {
    "/usr/local/lib/hardwatt/hardwatt_meter.py": FOLDER / "hardwatt_meter.py",
    "/etc/systemd/system/hardwatt-meter.service": FOLDER / "hardwatt-meter.service",
    "/etc/systemd/system/var-lib-hardwatt-meter-sysfs.mount": FOLDER / "var-lib-hardwatt-meter-sysfs.mount",
    "/etc/systemd/system/var-lib-hardwatt-meter-textfile.mount": FOLDER / "var-lib-hardwatt-meter-textfile.mount",
}
"""Path on the node -> file here. The two mounts come before the service; both may be enabled by systemd."""

DEFAULT_UNITS = ("hardwatt-git.service", "ssh.service", "sshd.service", "containerd.service", "kubelet.service")
"""Units whose CPU-seconds are shown apart; those that a node has not are left out by the daemon."""


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
    """Watts by utilisation. ``points_per_cpu`` are (utilisation 0..1, watts for each CPU)."""

    name: str
    title: str
    points_per_cpu: tuple[tuple[float, float], ...]
    covers: str
    source: str
    assumption: bool
    cpu: Mapping[str, Any]

    def points(self, cpus: int) -> list[list[float]]:
        """Return (utilisation, watts of a node with ``cpus`` CPUs)."""
        return [[load, round(watts * cpus, 6)] for load, watts in self.points_per_cpu]

    def fits(self, cpu: Cpu) -> bool:
        """Tell whether the model is for this processor."""
        want = self.cpu
        if not want or (want["vendor"], want["family"], want["model"]) != (cpu.vendor, cpu.family, cpu.model):
            return False
        return "steppings" not in want or cpu.stepping in want["steppings"]

    def record(self, cpus: int) -> dict[str, object]:
        """Return what a bundle's manifest says of the model: enough to compute its joules again."""
        return {
            "name": self.name,
            "title": self.title,
            "points": self.points(cpus),
            "cpus": cpus,
            "covers": self.covers,
            "source": self.source,
            "assumption": self.assumption,
        }


def load_models(path: Path = FOLDER / "models.toml") -> dict[str, Model]:
    """Return every power model by its name; raise VerifyError where one has neither a source nor says so."""
    document = tomllib.loads(path.read_text())
    if problems := _problems(document):
        raise VerifyError("; ".join(problems))
    models = {}
    for name, entry in document["models"].items():
        source = document["sources"].get(entry.get("source", ""), {})
        assumption = bool(entry.get("assumption", False))
        points = tuple((float(load), float(watts)) for load, watts in entry["points_per_cpu"])
        text = f"assumption: {entry['reason']}" if assumption else f"{source['title']}, {source['url']}"
        cpu = entry.get("cpu", {})
        models[name] = Model(name, entry["title"], points, entry["covers"], text, assumption, cpu)
    return models


def model_problems(path: Path) -> list[str]:
    """Return every fault of a file of power models, each with the model's name; empty where it is good."""
    try:
        return _problems(tomllib.loads(path.read_text()))
    except tomllib.TOMLDecodeError as error:
        return [f"not TOML: {error}"]


def _problems(document: Mapping[str, Any]) -> list[str]:
    sources, problems = document.get("sources", {}), []
    for name, entry in document.get("models", {}).items():
        missing = [key for key in ("title", "covers", "points_per_cpu") if key not in entry]
        found = [f"needs {', '.join(missing)}"] if missing else []
        assumption = bool(entry.get("assumption", False))
        if assumption == (entry.get("source", "") in sources):
            found.append("needs either a known source, or assumption = true")
        if assumption and "reason" not in entry:
            found.append("an assumption needs a reason")
        points = entry.get("points_per_cpu", [])
        found += hardwatt_meter.check_model({"name": name, "points": points}) if "points_per_cpu" in entry else []
        cpu = entry.get("cpu", {})
        if cpu and not {"vendor", "family", "model"} <= set(cpu):
            found.append("cpu needs vendor, family and model")
        problems += [f"power model {name}: {one}" for one in found]
    return problems or ([] if document.get("models") else ["there is no power model in it"])


def parse_cpuinfo(text: str) -> Cpu:
    """Return the processor that the text of /proc/cpuinfo describes; what it does not say is empty or -1."""
    first = text.split("\n\n", 1)[0]
    fields = {key.strip(): value.strip() for key, _, value in (line.partition(":") for line in first.splitlines())}

    def number(key: str) -> int:
        return int(fields[key]) if fields.get(key, "").isdigit() else -1

    vendor, name = fields.get("vendor_id", ""), fields.get("model name", "")
    return Cpu(vendor, number("cpu family"), number("model"), number("stepping"), name)


def select_model(name: str, cpuinfo: str = "") -> Model:
    """Return the model ``name``; "auto" takes the one for the node's processor, else the generic one.

    Raise SettingsError with the nearest name where there is no such model.
    """
    models = load_models()
    if name == "auto":
        cpu = parse_cpuinfo(cpuinfo)
        return next((model for model in models.values() if model.fits(cpu)), models["generic"])
    if name not in models:
        near = get_close_matches(name, models, 1)
        hint = f"did you mean {near[0]}?" if near else f"one of {', '.join(models)}, or auto"
        raise SettingsError(f"meter.model: there is no power model {name!r}", hint=hint)
    return models[name]


def meter_config(
    *,
    source: Literal["modelled", "rapl"],
    model: Model | None,
    cpus: int,
    cpu: str = "procstat",
    units: Sequence[str] = DEFAULT_UNITS,
    force_model: bool = False,
) -> dict[str, Any]:
    """Return the content of /etc/hardwatt/meter.json for a node.

    ``cpu`` is "procstat", or the folder of the machine's own cgroup as the node sees it. ``cpus`` is what full
    load means. Raise SettingsError where the daemon would refuse it.
    """
    config: dict[str, Any] = {
        "source": source,
        "cpu": cpu,
        "cpus": cpus,
        "units": list(units),
        "force_model": force_model,
        "sysfs": f"{ROOT}/sysfs",
        "textfile": f"{ROOT}/textfile/hardwatt.prom",
        "state": f"{ROOT}/state.json",
    }
    if model is not None and source == "modelled":
        config["model"] = {"name": model.name, "points": model.points(cpus)}
    problems = hardwatt_meter.check_values({**hardwatt_meter.DEFAULTS, **config})
    if problems:
        raise SettingsError(f"the meter cannot run so: {'; '.join(problems)}")
    return config
