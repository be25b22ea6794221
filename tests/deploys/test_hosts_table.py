"""Facts of hosts that went wrong elsewhere: each row of the table is a kind, tried with instances of its own.

Facts whose script decides are asked of a real shell, in which the files of a constructed host stand in for this one's.
"""

import os
import re
import subprocess
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest
from pyinfra.api import FactBase

from deploys import checks
from deploys.facts.kernel import Headers
from deploys.facts.network import Routes
from deploys.facts.surroundings import Surroundings
from deploys.facts.system import System
from deploys.labdata import family_of
from deploys.operations.headers import devel_package
from deploys.repositories import upstream
from hardwatt.config.settings import Gitops, parse
from hardwatt.core.errors import SettingsError
from hardwatt.gitops import desired_flux
from hardwatt.machines import host_facts
from hardwatt.mirror import distro
from hardwatt.provision.node_data import Processor
from tests.deploys.test_checks import facts, lab
from tests.gitops.test_flux import KEY, WANTED

EL = {"os": "rhel", "os_version": "8.6", "os_like": ["fedora"], "kernel": "5.14.0-70.el9.x86_64"}
QUIET = {"mode": "Enforcing"}
ECDSA = "ecdsa-sha2-nistp256 AAAAE2VjZHNh"


def asked(fact: FactBase[Any], root: Path, files: Mapping[str, str], env: Mapping[str, str] | None = None) -> Any:
    """Return what a fact says of a host with these files, asked by a real shell."""
    for name, content in files.items():
        path = root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(content)
        if path.parent.name == "bin":
            path.chmod(0o755)
    script = re.sub(r"(?<![\w.>])/(etc|var/lib/rhsm|lib/modules|boot)/", f"{root}/\\1/", str(fact.command()))
    tools = f"{root / 'bin'}:{os.environ['PATH']}"
    done = subprocess.run(
        ["sh", "-c", script], capture_output=True, text=True, check=False, env={"PATH": tools, **(env or {})}
    )
    assert done.returncode == 0, done.stderr
    return fact.process(done.stdout.splitlines())


def names(**changed: Any) -> dict[str, str]:
    return {problem.name: problem.severity for problem in checks.problems(facts(**changed), lab())}


@pytest.mark.parametrize(
    ("release", "major"),
    [
        ('ID="ol"\nID_LIKE="fedora"\nVERSION_ID="8.6"\nPLATFORM_ID="platform:el8"', "8"),
        ('ID="tencentos"\nID_LIKE="tencentos"\nVERSION_ID="3.1"\nPLATFORM_ID="platform:el8"', "8"),
        ("ID=virtuozzo\nVERSION_ID=9\nPLATFORM_ID='platform:el9'", "9"),
        ('ID="almalinux"\nID_LIKE="rhel centos fedora"\nVERSION_ID="9.4"\nPLATFORM_ID="platform:el9"', "9"),
    ],
)
def test_the_platform_id_names_the_release_of_rhel(tmp_path: Path, release: str, major: str) -> None:
    machine = asked(System(), tmp_path, {"etc/os-release": release + "\n"})
    assert family_of(machine) == "el"
    assert upstream("docker", "1.36", "el", machine).url.endswith(f"/rhel/{major}/x86_64/stable")
    assert "os" not in names(system={**machine, "arch": "x86_64", "init": "systemd", "root": True}, selinux=QUIET)
    assert Processor(2, "", system=(machine["os"], *machine["os_like"], machine["platform"])).takes_rpms


@pytest.mark.parametrize("platform", ["platform:f41", "platform:al2023", "platform:el10", ""])
def test_another_platform_is_refused(platform: str) -> None:
    machine = {"os": "amzn", "os_version": "2023", "os_like": ["fedora"], "platform": platform}
    assert names(system=machine, selinux=QUIET)["os"] == "error"


@pytest.mark.parametrize(
    ("release", "system", "codename"),
    [
        ("ID=linuxmint\nID_LIKE='ubuntu debian'\nVERSION_CODENAME=wilma\nUBUNTU_CODENAME=noble", "ubuntu", "noble"),
        ("ID=elementary\nID_LIKE=ubuntu\nVERSION_CODENAME=circe\nUBUNTU_CODENAME=noble", "ubuntu", "noble"),
        ("ID=linuxmint\nID_LIKE=debian\nVERSION_CODENAME=faye\nDEBIAN_CODENAME=bookworm", "debian", "bookworm"),
        ("ID=debian\nVERSION_CODENAME=bookworm", "debian", "bookworm"),
    ],
)
def test_a_derivative_uses_the_repositories_that_it_is_made_from(
    tmp_path: Path, release: str, system: str, codename: str
) -> None:
    machine = asked(System(), tmp_path, {"etc/os-release": release + "\n"})
    assert family_of(machine) == "debian"
    repository = upstream("docker", "1.36", "debian", machine)
    assert (repository.url.rpartition("/")[2], repository.suite) == (system, codename)
    assert host_facts.codename(host_facts.release(tmp_path)) == codename
    assert distro.release(tmp_path / "etc/os-release").codename == codename


@pytest.mark.parametrize(
    ("system", "codename"),
    [
        ({"os": "debian", "os_version": "11"}, "bullseye"),
        ({"os": "ubuntu", "os_version": "18.04", "os_like": ["debian"]}, "bionic"),
        ({"os": "debian", "os_version": ""}, "sid"),
        ({"os": "kali", "os_version": "2026.3", "os_like": ["debian"]}, "kali-rolling"),
        ({"os": "ubuntu", "os_version": "25.10", "os_like": ["debian"]}, "questing"),
        ({"os": "raspbian", "os_version": "10", "os_like": ["debian"]}, ""),
    ],
)
def test_a_release_that_this_was_not_made_for_is_a_warning(system: dict[str, Any], codename: str) -> None:
    (problem,) = checks.problems(facts(system={**system, "codename": codename}), lab())
    assert (problem.severity, problem.name) == ("warning", "release")
    assert system["os"] in problem.what


@pytest.mark.parametrize(
    ("lines", "said"),
    [
        (["0.0.0.0/1 via 10.8.0.1 dev tun0", "128.0.0.0/1 via 10.8.0.1 dev tun0"], []),
        ([f"{first}.0.0.0/2 dev wg0" for first in (0, 64, 128, 192)], []),
        # a VPN that leaves 192.168.0.0/16 out
        (["0.0.0.0/1 dev wg0", "128.0.0.0/2 dev wg0", "192.0.0.0/9 dev wg0", "208.0.0.0/4 dev wg0"], []),
        (["0.0.0.0/1 dev tun0", "128.0.0.0/1 dev tun0", "10.96.0.0/12 dev tun0"], ["route"]),
        (["0.0.0.0/1 dev tun0"], ["route", "route"]),
        (["10.0.0.0/8 via 10.8.0.1 dev tun0"], ["route", "route"]),
    ],
)
def test_a_default_route_in_parts_is_no_network(lines: list[str], said: list[str]) -> None:
    problems = checks.problems(facts(routes=dict(Routes().process(lines))), lab())
    assert [problem.name for problem in problems] == said


@pytest.mark.parametrize(
    ("file", "content"),
    [
        ("etc/dnf/vars/releasever", "8.6\n"),
        ("etc/yum/vars/releasever", "8.6\n"),
        ("var/lib/rhsm/cache/releasever.json", '{"releaseVer": "8.6"}'),
        (
            "etc/yum.repos.d/redhat.repo",
            "[a]\nbaseurl = https://cdn.redhat.com/content/eus/rhel8/8.6/x86_64/baseos/os\n",
        ),
        ("etc/dnf/dnf.conf", "[main]\nreleasever = 8.6\n"),
    ],
)
def test_a_release_lock_is_looked_for_where_it_is_put(tmp_path: Path, file: str, content: str) -> None:
    surroundings = asked(Surroundings(), tmp_path, {file: content})
    assert surroundings["release_lock"] == "8.6"
    assert "release-lock" not in names(system=EL, selinux=QUIET, surroundings=surroundings)


@pytest.mark.parametrize(
    "files",
    [
        {},
        {"var/lib/rhsm/cache/releasever.json": '{"releaseVer": null}'},
        {"etc/yum.repos.d/redhat.repo": "baseurl = https://cdn.redhat.com/content/dist/rhel8/8/x86_64/baseos/os\n"},
        {"etc/dnf/vars/releasever": "8\n"},
    ],
)
def test_no_release_lock_is_said(tmp_path: Path, files: dict[str, str]) -> None:
    surroundings = asked(Surroundings(), tmp_path, files)
    assert names(system=EL, selinux=QUIET, surroundings=surroundings)["release-lock"] == "note"


@pytest.mark.parametrize(
    ("files", "env"),
    [
        ({}, {"https_proxy": "http://p:3128", "no_proxy": "localhost,10.0.0.0/8,198.51.100.7"}),
        ({}, {"HTTPS_PROXY": "http://p:3128", "NO_PROXY": "10.244.0.0/16,10.96.0.0/16,198.51.100.0/24,.svc"}),
        ({"etc/environment": 'http_proxy=""\nhttps_proxy=\'\'\nno_proxy=""\n'}, {"http_proxy": ""}),
        ({"etc/profile.d/p.sh": 'export https_proxy="http://p"\nexport no_proxy="10.0.0.0/8, 198.51.100.7"\n'}, {}),
        ({}, {"https_proxy": "http://p:3128", "no_proxy": "*"}),
    ],
)
def test_a_proxy_that_leaves_the_cluster_alone_is_no_warning(
    tmp_path: Path, files: dict[str, str], env: dict[str, str]
) -> None:
    surroundings = {**asked(Surroundings(), tmp_path, files, env), "foreign": [], "network_manager": False}
    surroundings |= {"uuid": facts().surroundings["uuid"], "synchronised": True, "fips": False}
    assert names(surroundings=surroundings) == {}


@pytest.mark.parametrize(
    ("env", "remedy"),
    [
        ({"https_proxy": "http://me:secret@p"}, "add 10.244.0.0/16,10.96.0.0/16,198.51.100.7 to no_proxy"),
        ({"all_proxy": "socks5://p", "no_proxy": "10.244.0.0/16"}, "add 10.96.0.0/16,198.51.100.7 to no_proxy"),
        ({"http_proxy": "http://p", "no_proxy": "10.0.0.0/8,node-1"}, "add 198.51.100.7 to no_proxy"),
    ],
)
def test_what_no_proxy_lacks_is_named_and_no_password(tmp_path: Path, env: dict[str, str], remedy: str) -> None:
    surroundings = asked(Surroundings(), tmp_path, {}, env)
    assert "secret" not in str(surroundings)
    found = [p for p in checks.problems(facts(surroundings=surroundings), lab()) if p.name == "proxy"]
    assert [problem.remedy for problem in found] == [remedy]


@pytest.mark.parametrize(
    ("release", "owner", "package"),
    [
        ("4.18.0-553.el8.x86_64", "kernel-core 4.18.0-553.el8.x86_64", "kernel-devel-4.18.0-553.el8.x86_64"),
        (
            "4.18.0-372.9.1.rt7.166.el8.x86_64",
            "kernel-rt-core 4.18.0-372.9.1.rt7.166.el8.x86_64",
            "kernel-rt-devel-4.18.0-372.9.1.rt7.166.el8.x86_64",
        ),
        ("6.12.4-1.el8.elrepo.x86_64", "kernel-ml-core 6.12.4-1.el8.elrepo.x86_64",
         "kernel-ml-devel-6.12.4-1.el8.elrepo.x86_64"),
        ("5.15.0-6.80.3.1.el8uek.x86_64", "kernel-uek-core 5.15.0-6.80.3.1.el8uek.x86_64",
         "kernel-uek-devel-5.15.0-6.80.3.1.el8uek.x86_64"),
        ("5.14.0-362.el9.x86_64+rt", "kernel-rt-core 5.14.0-362.el9.x86_64", "kernel-rt-devel-5.14.0-362.el9.x86_64"),
        ("5.14.0-362.el9.x86_64+debug", "", "kernel-devel-5.14.0-362.el9.x86_64"),
    ],
)  # fmt: skip
def test_the_owner_of_the_running_kernel_names_the_flavour(
    tmp_path: Path, release: str, owner: str, package: str
) -> None:
    tools = {
        "bin/uname": f"#!/bin/sh\necho {release}\n",
        "bin/rpm": f"#!/bin/sh\necho '{owner or 'file is not owned by any package'}'\n",
        "bin/apt-cache": "#!/bin/sh\nexit 1\n",
    }
    assert devel_package(asked(Headers(), tmp_path, tools)) == package


@pytest.mark.parametrize(
    ("port", "holder"),
    [(2222, "sshd"), (2222, "systemd"), (6443, "systemd"), (2222, "dropbear"), (9100, "sshd-session")],
)
def test_a_persons_own_way_in_is_never_to_be_stopped(port: int, holder: str) -> None:
    (problem,) = checks.problems(facts(ports={port: holder}), lab())
    assert "your own way in" in problem.remedy
    assert f"stop {holder}" not in problem.remedy


@pytest.mark.parametrize(
    "uuid",
    [
        "03000200-0400-0500-0006-000700080009",
        "00020003-0004-0005-0006-000700080009",
        "FFFFFFFF-FFFF-FFFF-FFFF-FFFFFFFFFFFF",
        "12345678-1234-5678-90ab-cddeefaabbcc",
        "11111111-2222-3333-4444-555555555555",
        "fefefefe-fefe-fefe-fefe-fefefefefefe",
        "Not Settable",
    ],
)
def test_a_board_number_that_every_board_has_is_not_unique(uuid: str) -> None:
    assert names(surroundings={"uuid": uuid}) == {"product-uuid": "warning"}


@pytest.mark.parametrize(
    "uuid",
    [
        "4c4c4544-0042-3510-8052-b4c04f4d4d32",
        "00000000-0000-0000-0000-ac1f6b2d9e74",
        "EC2E1D7A-9F43-6B0C-58D1-7A3E90B4C2F6",
        "31393736-3538-4753-4838-303257303354",
    ],
)
def test_a_board_number_of_its_own_is(uuid: str) -> None:
    assert names(surroundings={"uuid": uuid}) == {}


@pytest.mark.parametrize(
    ("stored", "wrong", "pinned"),
    [
        (f"h {ECDSA}\nh {KEY}", False, False),
        (f"h {ECDSA}", False, False),
        (f"h {KEY}", False, True),
        (f"h {ECDSA}\nh ssh-ed25519 AAAAother", True, False),
        ("h ssh-ed25519 AAAAother", True, False),
        ("h ssh-rsa", True, False),
    ],
)
def test_host_keys_of_one_type_are_compared(stored: str, wrong: bool, pinned: bool) -> None:
    assert bool(desired_flux.known_host_differs(WANTED, {"known_hosts": stored})) is wrong
    assert desired_flux.is_pinned(WANTED, {"known_hosts": stored}) is pinned


@pytest.mark.parametrize(
    "line",
    [
        "@revoked git.example.org ssh-ed25519 AAAA",
        "@cert-authority *.example.org ssh-ed25519 AAAA",
        "# git.example.org ssh-ed25519 AAAA",
        "  @revoked git.example.org ssh-ed25519 AAAA",
    ],
)
def test_a_line_that_is_no_trusted_host_key_is_refused(line: str) -> None:
    with pytest.raises(SettingsError, match="known_host"):
        parse(Gitops, {"url": "ssh://git@git.example.org/lab.git", "known_host": line}, "lab.toml")
