"""Recipes that compile a family into programs: one function per recipe."""

import json
import re
import shutil
from collections.abc import Callable, Mapping
from pathlib import Path

from hardwatt.core import process
from hardwatt.core.errors import LabError
from hardwatt.mirror.build import node_pages
from hardwatt.mirror.build.go_family import Family, read_family
from hardwatt.mirror.build.tools import Tools


def compile_go(family: Family, tools: Tools, target: Path) -> None:
    """Build all packages of a family with one ``go build``."""
    _go_build(family, tools, target, cwd=family.folder)


def _go_build(family: Family, tools: Tools, target: Path, *, cwd: Path) -> None:
    flags = " ".join(flag.format(version=family.version) for flag in ("-s", "-w", *family.ldflags))
    tags = ["-tags", ",".join(family.tags)] if family.tags else []
    packages = list(family.binaries.values())
    tools.run([tools.go, "build", "-ldflags", flags, *tags, "-o", f"{target}/", *packages], cwd)
    for name, package in family.binaries.items():
        made = target / default_name(package, family.name)
        if made.name != name:
            made.rename(target / name)


def default_name(package: str, family_name: str) -> str:
    """Return the name that Go gives to the program of a package."""
    if package == ".":
        return family_name
    return re.sub(r"/v[0-9]+$", "", package).rpartition("/")[2]


def compile_c(family: Family, tools: Tools, target: Path) -> None:
    """Compile single C files of a family's module, statically."""
    (module,) = family.modules
    source = module_folder(family, module, tools)
    gcc = shutil.which("gcc")
    if gcc is None:
        raise LabError("gcc is needed and not here", hint="make setup (package gcc)")
    for name, file in family.binaries.items():
        flags = [flag.format(version=family.version) for flag in family.cflags]
        tools.run([gcc, "-static", "-Os", "-s", *flags, "-o", target / name, source / file], tools.work)


def module_folder(family: Family, module: str, tools: Tools) -> Path:
    """Return the folder of a module's source, downloaded and checked against the go.sum."""
    done = process.run([tools.go, "mod", "download", "-json", module], cwd=family.folder, env=tools.env)
    return Path(json.loads(done.stdout)["Dir"])


def compile_flux(family: Family, tools: Tools, target: Path) -> None:
    """Build the Flux CLI with the manifests that upstream's release process would put in it.

    The module does not carry ``cmd/flux/manifests``, and files in the module cache cannot be
    overlaid: so it is built from a copy of the module.
    """
    copy = _copy_of_module(family, tools)
    flux_manifests(family, tools, copy)
    _build_with_copy(family, tools, target, copy)


def compile_with_pages(family: Family, tools: Tools, target: Path) -> None:
    """Build Prometheus with its web pages, from a copy of the module in which they are made first."""
    copy = _copy_of_module(family, tools)
    ui = copy / "web" / "ui"
    node_pages.build_pages(family, tools, ui, "build:mantine-ui")
    node_pages.embed(ui)
    _build_with_copy(family, tools, target, copy)


def _copy_of_module(family: Family, tools: Tools) -> Path:
    (module,) = family.modules
    copy = tools.work / "module"
    shutil.copytree(module_folder(family, module, tools), copy)
    return copy


def _build_with_copy(family: Family, tools: Tools, target: Path, copy: Path) -> None:
    """Build a family with a changed copy in place of its one module."""
    (module,) = family.modules
    place = tools.work / "family"
    shutil.copytree(family.folder, place)
    tools.run([tools.go, "mod", "edit", f"-replace={module}={copy}"], place)
    _go_build(family, tools, target, cwd=place)


def flux_manifests(family: Family, tools: Tools, copy: Path) -> None:
    """Write ``cmd/flux/manifests`` as upstream's ``manifests/scripts/bundle.sh`` does.

    Each base names two files of a controller's release; they are the controller's own
    ``config/crd`` and ``config/manager``, which its module carries. Controllers that are no
    family are left out: ``flux bootstrap --components`` can then name only the others.
    """
    out = copy / "cmd" / "flux" / "manifests"
    out.mkdir()
    controllers = [name for name in family.depends if name.endswith("-controller")]
    for name in controllers:
        controller = read_family(name, family.folder.parent)
        (module,) = controller.modules
        base = copy / "manifests" / "bases" / name
        shutil.copytree(module_folder(controller, module, tools) / "config", base / "config")
        text = (base / "kustomization.yaml").read_text()
        text = re.sub(r"https://\S+\.crds\.yaml", "config/crd", text)
        text = re.sub(r"https://\S+\.deployment\.yaml", "config/manager", text)
        (base / "kustomization.yaml").write_text(text)
    header = f"# Components of this build: {', '.join(controllers)}.\n"
    parts = {name: f"bases/{name}" for name in controllers} | {"rbac": "rbac", "policies": "policies"}
    for name, folder in parts.items():
        made = process.run([tools.programs["kubectl"], "kustomize", copy / "manifests" / folder])
        (out / f"{name}.yaml").write_text(header + made.stdout)


RECIPES: Mapping[str, Callable[[Family, Tools, Path], None]] = {
    "c": compile_c,
    "flux": compile_flux,
    "go": compile_go,
    "go-with-pages": compile_with_pages,
}
