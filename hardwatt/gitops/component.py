"""The one generated kustomization: what differs between labs, as a Kustomize component."""

import dataclasses
import posixpath
from collections.abc import Mapping, Sequence
from typing import Any

import yaml

from hardwatt.mirror.index import Image, Index
from hardwatt.settings import Settings
from hardwatt.versions import lock

REQUIRED = ("source-controller", "kustomize-controller", "prometheus", "node-exporter")
"""Images without which there is no lab."""

MODELLED_SYSFS = "/var/lib/hardwatt/meter/sysfs"
SCRAPE_INTERVAL = "1s"
"""What clusters/base says for the two jobs that are measured with."""


@dataclasses.dataclass(frozen=True)
class Facts:
    """What the generated kustomization says about one lab."""

    lab: str
    images: tuple[Image, ...]
    modelled: bool
    """Whether the meter's source is the modelled tree."""
    retention: str
    retention_size: str
    scrape_interval: str
    missing: tuple[str, ...]
    """Optional parts whose image this lab does not have."""


def facts(settings: Settings, index: Index, kind: str) -> Facts:
    """Return the facts of a lab whose node is of this kind (``embedded``, ``vm`` or ``ssh``).

    Raises ``LabError`` where the mirror lacks an image that every lab needs.
    """
    for name in REQUIRED:
        index.image(name)
    held = tuple(
        sorted(
            (index.image(item.name) for item in index.artefacts if item.kind == "image" and item.group != "node"),
            key=lambda image: image.name,
        )
    )
    names = {image.name for image in held}
    return Facts(
        settings.name,
        held,
        modelled=is_modelled(settings, kind),
        retention=settings.prometheus.retention,
        retention_size=settings.prometheus.retention_size,
        scrape_interval=settings.prometheus.scrape_interval,
        missing=tuple(name for name, entry in sorted(lock().foreign.items()) if entry.repository not in names),
    )


def is_modelled(settings: Settings, kind: str) -> bool:
    """Return whether joules come from the power model: so on every machine that is not a host of its own."""
    source = settings.meter.source
    return source == "modelled" or (source == "auto" and kind != "ssh")


def folder(cluster: str) -> str:
    """Return the generated folder of a cluster's folder: beside it, so that Flux does not sync it by itself."""
    parent, name = posixpath.split(cluster.strip("/").removeprefix("./"))
    return posixpath.join(parent, "generated", name)


def render(facts: Facts, prometheus_config: str) -> str:
    """Return the text of the component's kustomization.yaml.

    ``prometheus_config`` is the base's prometheus.yaml: where the scrape interval differs from its
    own, the whole file is patched.
    """
    component: dict[str, Any] = {
        "apiVersion": "kustomize.config.k8s.io/v1alpha1",
        "kind": "Component",
        "images": [_image(image) for image in facts.images],
        "patches": [_patch(kind, name, body) for kind, name, body in _patches(facts, prometheus_config)],
    }
    return _header(facts) + yaml.dump(component, Dumper=_Dumper, sort_keys=False, width=120)


def _header(facts: Facts) -> str:
    lines = [
        f"# What differs between labs, for the lab {facts.lab}. Written by lab.up from lab.toml and the mirror.",
        "# A file of this folder that somebody else changed is not overwritten: lab.up stops and shows both.",
    ]
    if facts.missing:
        lines.append(f"# Not in this lab, for want of an image (see mirror.import): {', '.join(facts.missing)}.")
    return "\n".join(lines) + "\n"


def _image(image: Image) -> dict[str, str]:
    entry = {"name": image.name, "newTag": image.tag, "digest": image.digest}
    return {key: value for key, value in entry.items() if value}


def _patches(facts: Facts, prometheus_config: str) -> Sequence[tuple[str, str, Mapping[str, Any]]]:
    found: list[tuple[str, str, Mapping[str, Any]]] = [
        ("StatefulSet", "prometheus-k8s", _containers("prometheus", facts))
    ]
    if facts.modelled:
        volume = {"name": "sys", "hostPath": {"path": MODELLED_SYSFS}}
        found.append(("DaemonSet", "node-exporter", {"spec": {"template": {"spec": {"volumes": [volume]}}}}))
    if facts.scrape_interval != SCRAPE_INTERVAL:
        text = "".join(
            line.replace(f": {SCRAPE_INTERVAL}", f": {facts.scrape_interval}")
            if line.strip() in (f"scrape_interval: {SCRAPE_INTERVAL}", f"scrape_timeout: {SCRAPE_INTERVAL}")
            else line
            for line in prometheus_config.splitlines(keepends=True)
        )
        found.append(("ConfigMap", "prometheus-config", {"data": {"prometheus.yaml": text}}))
    return found


def _containers(name: str, facts: Facts) -> dict[str, Any]:
    environment = [
        {"name": "RETENTION_TIME", "value": facts.retention},
        {"name": "RETENTION_SIZE", "value": facts.retention_size},
    ]
    return {"spec": {"template": {"spec": {"containers": [{"name": name, "env": environment}]}}}}


_GROUPS = {"ConfigMap": "v1", "DaemonSet": "apps/v1", "StatefulSet": "apps/v1"}


def _patch(kind: str, name: str, body: Mapping[str, Any]) -> dict[str, Any]:
    """Return a strategic merge patch; with a target, so that it may match nothing."""
    document = {"apiVersion": _GROUPS[kind], "kind": kind, "metadata": {"name": name}, **body}
    return {
        "target": {"kind": kind, "name": name},
        "patch": yaml.dump(document, Dumper=_Dumper, sort_keys=False, width=120),
    }


class _Dumper(yaml.SafeDumper):
    """Writes text of several lines as a block, as a person would."""


def _block(dumper: yaml.SafeDumper, text: str) -> yaml.ScalarNode:
    return dumper.represent_scalar("tag:yaml.org,2002:str", text, style="|" if "\n" in text else None)


_Dumper.add_representer(str, _block)
