"""The one generated kustomization: what differs between labs, as a Kustomize component."""

import dataclasses
import posixpath
from collections.abc import Mapping, Sequence
from typing import Any

import yaml

from hardwatt.config.settings import Settings
from hardwatt.config.versions import lock
from hardwatt.core.errors import SettingsError
from hardwatt.gitops import scrape_interval
from hardwatt.mirror.index import Image, Index

REQUIRED = ("source-controller", "kustomize-controller", "prometheus", "node-exporter")
"""Images without which there is no lab."""

NOT_FLUXS = ("node", "ci")
"""Groups of images that nothing in clusters/ names."""
MODELLED_SYSFS = "/var/lib/hardwatt/meter/sysfs"
RULES = scrape_interval.RULES.format("recreated-{}")


@dataclasses.dataclass(frozen=True)
class ComponentInputs:
    """Inputs of one lab for its generated kustomization."""

    lab: str
    images: tuple[Image, ...]
    modelled: bool
    """Whether the meter's source is the modelled tree."""
    retention: str
    retention_size: str
    scrape_interval: str
    """Scrape interval of the measured counters."""
    attribution: str
    """Source of the metrics with names of 2022: ``cgroup`` or ``kepler``."""
    missing: tuple[str, ...]
    """Optional parts whose image this lab does not have."""


def facts(settings: Settings, index: Index, kind: str, interval: str = scrape_interval.BASE) -> ComponentInputs:
    """Return the inputs of a lab whose node is of this kind (``embedded``, ``vm`` or ``ssh``), scraped at ``interval``.

    Raises ``LabError`` where the mirror lacks an image that every lab needs, ``SettingsError`` where
    Kepler cannot be what pods are attributed by.
    """
    for name in REQUIRED:
        index.image(name)
    held = tuple(
        sorted(
            (
                index.image(item.name)
                for item in index.artefacts
                if item.kind == "image" and item.group not in NOT_FLUXS
            ),
            key=lambda image: image.name,
        )
    )
    missing = left_out(index)
    if settings.prometheus.attribution == "kepler":
        _need_kepler(kind, missing)
    return ComponentInputs(
        settings.name,
        held,
        modelled=is_modelled(settings, kind),
        retention=settings.prometheus.retention,
        retention_size=settings.prometheus.retention_size,
        scrape_interval=interval,
        attribution=settings.prometheus.attribution,
        missing=missing,
    )


def left_out(index: Index) -> tuple[str, ...]:
    """Return the optional parts whose image this lab does not have."""
    return tuple(name for name, entry in sorted(lock().foreign.items()) if not index.has_image(entry.repository))


def _need_kepler(kind: str, missing: Sequence[str]) -> None:
    reason = "its image is not in the mirror" if "kepler" in missing else ""
    if kind == "embedded":
        reason = "on the embedded node /proc/stat is not the node's own"
    if reason:
        raise SettingsError(
            f'prometheus.attribution = "kepler": Kepler\'s figures are not to be had, because {reason}',
            hint='set attribution = "cgroup" in lab.toml'
            + ("" if kind == "embedded" else ", or invoke mirror.import KEPLER.tar"),
        )


def is_modelled(settings: Settings, kind: str) -> bool:
    """Return whether joules come from the power model: so on every machine that is not a host of its own."""
    source = settings.meter.source
    return source == "modelled" or (source == "auto" and kind != "ssh")


def folder(cluster: str) -> str:
    """Return the generated folder of a cluster's folder: beside it, so that Flux does not sync it by itself."""
    parent, name = posixpath.split(cluster.strip("/").removeprefix("./"))
    return posixpath.join(parent, "generated", name)


def render(facts: ComponentInputs, base: Mapping[str, str]) -> str:
    """Return the text of the component's kustomization.yaml.

    ``base`` holds the texts of clusters/base by path: where a setting changes a file inside a
    ConfigMap, the whole file is patched.
    """
    component: dict[str, Any] = {
        "apiVersion": "kustomize.config.k8s.io/v1alpha1",
        "kind": "Component",
        "images": [_image(image) for image in facts.images],
        "patches": [_patch(kind, name, body) for kind, name, body in _patches(facts, base)],
    }
    return _header(facts) + yaml.dump(component, Dumper=_Dumper, sort_keys=False, width=120)


def _header(facts: ComponentInputs) -> str:
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


def _patches(facts: ComponentInputs, base: Mapping[str, str]) -> Sequence[tuple[str, str, Mapping[str, Any]]]:
    patches: list[tuple[str, str, Mapping[str, Any]]] = [
        ("StatefulSet", "prometheus-k8s", _containers("prometheus", facts))
    ]
    if facts.modelled:
        volume = {"name": "sys", "hostPath": {"path": MODELLED_SYSFS}}
        patches += [
            ("DaemonSet", name, {"spec": {"template": {"spec": {"volumes": [volume]}}}})
            for name in ("node-exporter", "kepler")
            if name not in facts.missing
        ]
    maps: dict[str, dict[str, str | None]] = {}
    if facts.attribution == "kepler":
        rules = base[RULES.format("kepler")]
        maps["prometheus-rules"] = {"recreated-cgroup.yaml": None, "recreated-kepler.yaml": rules}
    if facts.scrape_interval != scrape_interval.BASE:
        kepler = "kepler" not in facts.missing
        changed = scrape_interval.config_maps(base, facts.scrape_interval, facts.attribution, kepler=kepler)
        for name, data in changed.items():
            maps[name] = {**maps.get(name, {}), **data}
    return [*patches, *(("ConfigMap", name, {"data": data}) for name, data in maps.items())]


def _containers(name: str, facts: ComponentInputs) -> dict[str, Any]:
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
