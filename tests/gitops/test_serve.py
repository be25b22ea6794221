"""The command that the keys of the git server are forced to run: what it allows, refuses and logs."""

import re
import subprocess
from collections.abc import Callable
from pathlib import Path

import jinja2
import pytest

from hardwatt.config.settings import ROOT
from hardwatt.provision.git_keys import ACCESS

LINE = re.compile(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z (\S+) (\S+) (\S+) (\S+)")
Serve = Callable[[str, str], "subprocess.CompletedProcess[str]"]


def render(name: str, **data: object) -> str:
    loader = jinja2.FileSystemLoader(ROOT / "templates")
    # pyinfra's own way: keep the last newline, refuse what is not defined
    environment = jinja2.Environment(loader=loader, keep_trailing_newline=True, undefined=jinja2.StrictUndefined)
    return environment.get_template(name).render(**data)


@pytest.fixture
def node(tmp_path: Path) -> Path:
    """A node's folders, with the two repositories and the access table of the toolkit."""
    root = tmp_path / "srv"
    for name in ("lab", "workload", "secret"):
        subprocess.run(["git", "init", "--quiet", "--bare", str(root / f"{name}.git")], check=True)
    table = [(key, repository, mode) for key, rights in ACCESS.items() for repository, mode in rights.items()]
    (tmp_path / "access").write_text(render("git_access.j2", git_access_table=table))
    (tmp_path / "serve").write_text(
        render(
            "git_serve.sh.j2",
            git_root=root,
            git_log=tmp_path / "git.log",
            git_access=tmp_path / "access",
        )
    )
    return tmp_path


@pytest.fixture
def serve(node: Path) -> Serve:
    def run(key: str, command: str) -> "subprocess.CompletedProcess[str]":
        return subprocess.run(
            ["sh", str(node / "serve"), key],
            env={"PATH": "/usr/local/bin:/usr/bin:/bin", "SSH_ORIGINAL_COMMAND": command},
            input="0000",  # a client that wants nothing
            capture_output=True,
            text=True,
            timeout=20,
        )

    return run


def log(node: Path) -> list[str]:
    lines = (node / "git.log").read_text().splitlines()
    found = [LINE.fullmatch(line) for line in lines]
    assert all(found), lines
    return [" ".join(match.groups()) for match in found if match]


@pytest.mark.parametrize(
    ("key", "service", "repository"),
    [
        ("controller", "upload-pack", "lab"),
        ("controller", "receive-pack", "lab"),
        ("controller", "receive-pack", "workload"),
        ("flux", "upload-pack", "lab"),
        ("flux", "upload-pack", "workload"),
        ("runner", "upload-pack", "workload"),
    ],
)
def test_what_a_key_may_do_is_done_and_logged(
    node: Path, serve: Serve, key: str, service: str, repository: str
) -> None:
    done = serve(key, f"git-{service} '{node}/srv/{repository}.git'")
    assert done.returncode == 0, done.stderr
    assert done.stdout.endswith("0000")
    assert log(node) == [f"{key} {repository} {service} allowed"]


@pytest.mark.parametrize(
    ("key", "service", "repository"),
    [
        ("flux", "receive-pack", "lab"),
        ("flux", "receive-pack", "workload"),
        ("runner", "receive-pack", "workload"),
        ("runner", "upload-pack", "lab"),
        ("controller", "upload-pack", "secret"),
        ("controller", "upload-pack", "../srv/lab"),
        ("nobody", "upload-pack", "lab"),
    ],
)
def test_what_a_key_may_not_do_is_refused_and_logged(
    node: Path, serve: Serve, key: str, service: str, repository: str
) -> None:
    done = serve(key, f"git-{service} '{node}/srv/{repository}.git'")
    assert done.returncode == 1
    assert done.stdout == ""
    assert done.stderr.startswith("hardwatt: ")
    (line,) = log(node)
    assert line.startswith(f"{key} ")
    assert line.endswith(f" {service} denied")


@pytest.mark.parametrize(
    "command",
    [
        "",
        "sh",
        "git-shell",
        "git-upload-archive '{root}/lab.git'",
        "git-upload-pack",
        "git-upload-pack '{root}/lab.git'; touch {root}/owned",
        "git-upload-pack '{root}/lab.git' '$(touch {root}/owned)'",
        "git-upload-pack --upload-pack='touch {root}/owned' '{root}/lab.git'",
        "git-upload-pack '{root}/*.git'",
        "git-upload-pack '{root}/lab.git/'",
        "git-upload-pack '{root}/lab.git\n{root}/workload.git'",
    ],
)
def test_other_commands_are_refused(node: Path, serve: Serve, command: str) -> None:
    done = serve("controller", command.replace("{root}", str(node / "srv")))
    assert done.returncode == 1
    assert done.stdout == ""
    assert not (node / "srv" / "owned").exists()
    (line,) = log(node)
    assert line.startswith("controller - ")
    assert line.endswith(" denied")


def test_every_key_is_restricted_to_its_own_command() -> None:
    text = render("git_authorized_keys.j2", git_keys={"flux": "ssh-ed25519 AAAA", "runner": "ssh-ed25519 BBBB"})
    assert text.splitlines() == [
        'restrict,command="serve flux" ssh-ed25519 AAAA flux',
        'restrict,command="serve runner" ssh-ed25519 BBBB runner',
    ]


def test_the_log_is_not_written_by_hand_anywhere_else() -> None:
    """One writer, one format: what an experiment counts fetches by."""
    writers = [path.name for path in (ROOT / "templates").glob("*.j2") if "git_log" in path.read_text()]
    assert writers == ["git_serve.sh.j2"]
