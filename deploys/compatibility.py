"""The compatibility matrix: ``compatibility.toml`` as judgements."""

import dataclasses
import datetime
import functools
import tomllib
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from deploys.problem import Severity

FILE = Path(__file__).with_name("compatibility.toml")


@dataclasses.dataclass(frozen=True)
class Stack:
    """Versions that a host is about to run. ``el`` is the release of RHEL's family, or empty."""

    kubernetes: str
    kernel: str
    cgroup: int
    runtime: tuple[str, str]
    flux: str
    cni: str
    el: str = ""


@dataclasses.dataclass(frozen=True)
class Judgement:
    """One thing that does not go with another."""

    severity: Severity
    name: str
    what: str


@functools.cache
def matrix() -> dict[str, Any]:
    """Return the whole file."""
    return tomllib.loads(FILE.read_text())


def numbers(version: str) -> tuple[int, ...]:
    """Return the numbers at the beginning of a version: ``v1.36.3+lab.1`` gives (1, 36, 3)."""
    leading: list[int] = []
    for part in version.removeprefix("v").split("."):
        digits = part[: len(part) - len(part.lstrip("0123456789"))]
        if not digits:
            break
        leading.append(int(digits))
        if digits != part:
            break
    return tuple(leading)


def minor(version: str) -> str:
    """Return the minor of a version: ``1.36`` of ``v1.36.3+lab.1``."""
    return ".".join(str(number) for number in numbers(version)[:2])


def judge(stack: Stack, today: datetime.date) -> list[Judgement]:
    """Return everything in the stack that does not go together; empty: it does."""
    entry = matrix()["kubernetes"].get(minor(stack.kubernetes))
    if entry is None:
        known = ", ".join(matrix()["kubernetes"])
        return [
            Judgement("error", "kubernetes", f"nothing is known about Kubernetes {stack.kubernetes} (only {known})")
        ]
    return [*_kubernetes(stack, entry, today), *_runtime(stack), *_flux(stack), *_cni(stack)]


def _kubernetes(stack: Stack, entry: Mapping[str, Any], today: datetime.date) -> Iterable[Judgement]:
    version = minor(stack.kubernetes)
    if today > entry["end_of_life"]:
        yield Judgement(
            "warning", "end-of-life", f"Kubernetes {version} is past its end of life ({entry['end_of_life']}): no "
            "security fixes",
        )  # fmt: skip
    if not any(_is(stack.kernel, release) for release in entry["kernel_ok"]):
        # the number alone says little about a kernel with backports, but kubeadm goes by it
        yield Judgement(
            entry["kernel_other"], "kernel", f"kubeadm {version} does not list kernel {stack.kernel}: it wants "
            f"{', '.join(entry['kernel_ok'])}" + ("" if entry["kernel_other"] == "error" else " and only says so"),
        )  # fmt: skip
    if stack.cgroup == 1 and entry["cgroup_v1"] != "ok":
        said = "refuses cgroup v1" if entry["cgroup_v1"] == "error" else "takes cgroup v1 with a warning"
        yield Judgement(entry["cgroup_v1"], "cgroup-v1", f"Kubernetes {version} {said}")


def _runtime(stack: Stack) -> Iterable[Judgement]:
    name, version = stack.runtime
    entry = matrix()["runtime"].get(name, {}).get(minor(version))
    if entry is None:
        yield Judgement("error", "runtime", f"nothing is known about {name} {version}")
    elif minor(stack.kubernetes) not in entry["minors"]:
        yield Judgement("error", "runtime", f"{name} {version} is not known to go with Kubernetes {stack.kubernetes}")


def _flux(stack: Stack) -> Iterable[Judgement]:
    entry = matrix()["flux"].get(minor(stack.flux))
    lowest = entry["lowest"].get(minor(stack.kubernetes)) if entry else None
    if lowest is None or numbers(stack.kubernetes) < numbers(lowest):
        yield Judgement("error", "flux", f"Flux {stack.flux} does not support Kubernetes {stack.kubernetes}")


def _cni(stack: Stack) -> Iterable[Judgement]:
    entry = matrix()["cni"].get(stack.cni)
    if entry is None:
        yield Judgement("error", "cni", f"nothing is known about the pod network {stack.cni}")
        return
    wanted, actual = (entry["el"], stack.el) if stack.el else (entry["kernel"], stack.kernel)
    if wanted and numbers(actual) < numbers(wanted):
        of = "release" if stack.el else "kernel"
        yield Judgement("error", "cni", f"the pod network {stack.cni} wants {of} {wanted}, this is {actual}")


def kepler(version: str) -> dict[str, Any]:
    """Return what a version of Kepler needs of a host (its era's entry); empty for one that nobody knows."""
    for entry in matrix()["kepler"].values():
        if minor(version) in entry["versions"]:
            return dict(entry)
    return {}


def _is(kernel: str, release: str) -> bool:
    """Return whether a kernel is of a release; ``6.`` is every one of that major."""
    wanted = numbers(release)
    return numbers(kernel)[: len(wanted)] == wanted
