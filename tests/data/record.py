"""Records what real tools print: ``python -m tests.data.record [NAME...]`` writes the files beside this one.

Nothing leaves this machine: servers are on loopback, packet filters in a network namespace of their own. Ports and
folders differ each time, so they are written as PORT and FOLDER. A tool that is missing here leaves its file as it is.
"""

import argparse
import contextlib
import http.server
import json
import os
import re
import shutil
import socket
import ssl
import subprocess
import sys
import tempfile
import threading
from collections.abc import Callable, Iterator
from pathlib import Path

import paramiko

from tests.connect.test_ssh import Server
from tests.data.recordings import FOLDER
from tests.gitops.github import certificates

ROOT = FOLDER.parents[1]


class MissingToolError(Exception):
    """The tool of a recording is not on this machine, or may not be used."""


def tool(name: str) -> str:
    """Return a program of the machine, or one that was built for the mirror."""
    cache = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache", "hardwatt", "mirror", "tools", name)
    found = shutil.which(name, path=f"{os.environ['PATH']}:/usr/sbin:/sbin") or (str(cache) if cache.exists() else "")
    if not found:
        raise MissingToolError(f"{name} is not on this machine")
    return found


def printed(argv: list[str], *, cwd: Path | None = None, **env: str) -> str:
    """Run a command in the tests' environment and return what it printed, both outputs as one."""
    clean = {"PATH": os.environ["PATH"], "HOME": "/nowhere", "LC_ALL": "C.UTF-8", "TZ": "UTC", **env}
    done = subprocess.run(
        argv, cwd=cwd, env=clean, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, stdin=subprocess.DEVNULL, text=True,
        check=False, timeout=120,
    )  # fmt: skip
    return done.stdout


def version(argv: list[str]) -> str:
    return printed(argv).strip().splitlines()[0]


@contextlib.contextmanager
def answering(status: int, certificate: Path | None = None) -> Iterator[int]:
    """Give the port of a server that answers every request with one status, by TLS where there is a certificate."""

    class Answers(http.server.BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            self.send_response(status)
            if status == 401:
                self.send_header("WWW-Authenticate", 'Basic realm="git"')
            self.send_header("Content-Length", "0")
            self.end_headers()

        def log_message(self, *_arguments: object) -> None:
            """Print nothing."""

    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Answers)
    if certificate:
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(certificate)
        server.socket = context.wrap_socket(server.socket, server_side=True)
        server.handle_error = lambda *_: None  # type: ignore[method-assign] # a client that does not trust us hangs up
    threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02}, daemon=True).start()
    try:
        yield server.server_address[1]
    finally:
        server.shutdown()
        server.server_close()


def git(folder: Path, url: str, **env: str) -> str:
    """Fetch from a URL that cannot be fetched from."""
    quiet = {"GIT_CONFIG_NOSYSTEM": "1", "GIT_TERMINAL_PROMPT": "0", **env}
    return printed([tool("git"), "-c", "credential.helper=", "ls-remote", url], cwd=folder, **quiet)


def git_over_http(status: int) -> Callable[[Path], str]:
    def record(folder: Path) -> str:
        with answering(status) as port:
            return git(folder, f"http://ada:wrong@127.0.0.1:{port}/lab.git")

    return record


def git_untrusted(folder: Path) -> str:
    _, server = certificates(folder, "127.0.0.1")
    with answering(200, server) as port:
        return git(folder, f"https://127.0.0.1:{port}/lab.git")


def closed_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as free:
        return int(free.getsockname()[1])


def git_over_ssh(*, known: bool, key: bool) -> Callable[[Path], str]:
    """Record git by OpenSSH at a server of the tests: with another host key, or with a key that it does not know."""

    def record(folder: Path) -> str:
        server = Server(folder)
        try:
            server.know(server.host_key if known else paramiko.ECDSAKey.generate())
            if not key:
                (folder / "key").unlink()
                paramiko.ECDSAKey.generate().write_private_key_file(str(folder / "key"))
            ssh = f"{tool('ssh')} -F none -i {folder}/key -o IdentitiesOnly=yes -o BatchMode=yes"
            ssh += f" -o UserKnownHostsFile={folder}/known_hosts -o StrictHostKeyChecking=yes"
            return git(folder, f"ssh://git@127.0.0.1:{server.port}/lab.git", GIT_SSH_COMMAND=ssh)
        finally:
            server.close()

    return record


def git_push(*, ahead: bool) -> Callable[[Path], str]:
    """Record a push to a branch that moved, or into a repository whose hook declines."""

    def record(folder: Path) -> str:
        made = {"GIT_CONFIG_NOSYSTEM": "1", "GIT_AUTHOR_NAME": "a", "GIT_AUTHOR_EMAIL": "a@example.org"}
        made |= {"GIT_COMMITTER_NAME": "a", "GIT_COMMITTER_EMAIL": "a@example.org"}

        def run(*words: str, cwd: Path = folder) -> str:
            return printed([tool("git"), *words], cwd=cwd, **made)

        run("init", "--quiet", "--bare", "--initial-branch=main", "remote.git")
        for name in ("one", "two"):
            run("clone", "--quiet", "remote.git", name)
            run("commit", "--quiet", "--allow-empty", "-m", name, cwd=folder / name)
        if ahead:
            run("push", "--quiet", "origin", "HEAD:main", cwd=folder / "one")
        else:
            hook = folder / "remote.git/hooks/pre-receive"
            hook.write_text("#!/bin/sh\necho 'protected branch' >&2\nexit 1\n")
            hook.chmod(0o755)
        return run("push", "--porcelain", "origin", "HEAD:main", cwd=folder / "two")

    return record


def rules(*commands: str) -> Callable[[Path], str]:
    """Record the INPUT chain after some commands, in a network namespace that ends with the command."""

    def record(_: Path) -> str:
        table = tool("iptables")
        script = "; ".join(f"{table} {command}" for command in (*commands, "-S INPUT"))
        text = printed([tool("unshare"), "--net", "sh", "-c", script])
        if not text.startswith("-P INPUT"):
            raise MissingToolError(f"no packet filter in a network namespace: {text.strip()}")
        return text

    return record


def addresses(what: str) -> Callable[[Path], str]:
    """Record addresses or routes as JSON of a namespace with three links and further routes."""

    def record(_: Path) -> str:
        ip = tool("ip")
        commands = ["link set lo up"]
        for name in ("eth0", "tun0", "br0"):
            commands += [f"link add {name} type veth peer name {name}-end", f"link set {name}-end up"]
            commands += [f"link set {name} up"]
        commands += [
            "address add 192.0.2.2/24 dev eth0", "address add 10.77.0.1/25 dev tun0",
            "address add 10.77.1.1/24 dev br0", "route add default via 192.0.2.1", "route add 10.77.2.7 dev eth0",
            "route add unreachable 10.77.3.0/24",
        ]  # fmt: skip
        script = " && ".join(f"{ip} {command}" for command in commands)
        text = printed([tool("unshare"), "--net", "sh", "-c", f"{script} && {ip} -4 -json {what}"])
        if not text.startswith("["):
            raise MissingToolError(f"no links in a network namespace: {text.strip()}")
        return json.dumps(json.loads(text), indent=1, sort_keys=True) + "\n"

    return record


_DEPLOY = """
from pyinfra.operations import server
from pyinfra.api.exceptions import PyinfraError
server.shell(name="Swap | Off", commands=["true"])
server.shell(name="Modules | br_netfilter", commands=["{command}"])
server.shell(name="Modules | overlay", commands=["true"])
"""
_REFUSING = """
from pyinfra.api.exceptions import PyinfraError
raise PyinfraError("this host cannot carry the node\\nseverity  what  remedy\\nerror     no energy counter  set source")
"""


def pyinfra(deploy: str, **fill: str) -> Callable[[Path], str]:
    """Record a run of pyinfra on this machine itself, whose operations are `true` and one that is given."""

    def record(folder: Path) -> str:
        (folder / "deploy.py").write_text(deploy.format(**fill) if fill else deploy)
        argv = [sys.executable, "-m", "pyinfra", "@local", "deploy.py", "--json", "-y"]
        return printed(argv, cwd=folder, PYINFRA_PROGRESS="off", HOME=str(folder))

    return record


def flux(folder: Path) -> str:
    """Record the first document of Flux's manifests: its comments are what is read."""
    components = "--components=source-controller,kustomize-controller"
    text = printed([tool("flux"), "install", "--export", components], HOME=str(folder))
    return "---\n" + text.split("---\n")[1]


_GIT = ["git", "--version"]
_IPTABLES = ["iptables", "--version"]
_IP = ["ip", "-Version"]
_PYINFRA = [sys.executable, "-m", "pyinfra", "--version"]
RECORDINGS: dict[str, tuple[list[str], str, Callable[[Path], str]]] = {
    "git-401": (_GIT, "git ls-remote at a server that answers 401", git_over_http(401)),
    "git-403": (_GIT, "git ls-remote at a server that answers 403", git_over_http(403)),
    "git-404": (_GIT, "git ls-remote at a server that answers 404", git_over_http(404)),
    "git-502": (_GIT, "git ls-remote at a server that answers 502", git_over_http(502)),
    "git-untrusted": (_GIT, "git ls-remote at a server of an unknown authority", git_untrusted),
    "git-refused": (_GIT, "git ls-remote at a closed port",
                    lambda folder: git(folder, f"http://127.0.0.1:{closed_port()}/lab.git")),
    "git-no-name": (_GIT, "git ls-remote of a name that does not resolve",
                    lambda folder: git(folder, "http://watts.invalid/lab.git")),
    "git-no-repository": (_GIT, "git ls-remote of a folder that is no repository",
                          lambda folder: git(folder, str(folder))),
    "git-ssh-key-refused": (_GIT, "git ls-remote by OpenSSH with a key that the server does not know",
                            git_over_ssh(known=True, key=False)),
    "git-ssh-host-key": (_GIT, "git ls-remote by OpenSSH where the server has another host key",
                         git_over_ssh(known=False, key=True)),
    "git-ssh-refused": (_GIT, "git ls-remote by OpenSSH at a closed port",
                        lambda folder: git(folder, f"ssh://git@127.0.0.1:{closed_port()}/lab.git",
                                           GIT_SSH_COMMAND="ssh -F none -o BatchMode=yes")),
    "git-push-moved": (_GIT, "git push to a branch that moved", git_push(ahead=True)),
    "git-push-declined": (_GIT, "git push where a hook declines", git_push(ahead=False)),
    "iptables-open": (_IPTABLES, "iptables -S INPUT of a new network namespace", rules()),
    "iptables-drop": (_IPTABLES, "iptables -S INPUT with the policy DROP and a chain", rules(
        "-P INPUT DROP", "-N before-input", "-A INPUT -j before-input")),
    "iptables-reject": (_IPTABLES, "iptables -S INPUT with a last rule that rejects", rules(
        "-A INPUT -m conntrack --ctstate RELATED,ESTABLISHED -j ACCEPT", "-A INPUT -j REJECT")),
    "iptables-accept": (_IPTABLES, "iptables -S INPUT with rules that accept only", rules("-A INPUT -i lo -j ACCEPT")),
    "ip-addresses": (_IP, "ip -4 -json address in a network namespace with three links", addresses("address")),
    "ip-routes": (_IP, "ip -4 -json route show table all in the same namespace", addresses("route show table all")),
    "pyinfra-failed": (_PYINFRA, "pyinfra @local: the second of three operations fails", pyinfra(
        _DEPLOY, command="echo modprobe: FATAL: Module br_netfilter not found >&2; exit 1")),
    "pyinfra-applied": (_PYINFRA, "pyinfra @local: three operations run", pyinfra(_DEPLOY, command="true")),
    "pyinfra-refused": (_PYINFRA, "pyinfra @local: the deploy itself raises", pyinfra(_REFUSING)),
    "flux-components": (["flux", "--version"], "flux install --export of two controllers", flux),
}  # fmt: skip
"""Name -> the command that prints the tool's version, what was recorded, and how."""


def record(name: str) -> str:
    """Record once more; return the whole text of the file."""
    argv, what, make = RECORDINGS[name]
    head = version([tool(argv[0]), *argv[1:]] if argv[0] != sys.executable else argv)
    with tempfile.TemporaryDirectory(prefix="hardwatt-record-") as made:
        text = make(Path(made)).replace(made, "FOLDER").replace(str(ROOT), "CHECKOUT")
    text = re.sub(r"(127\.0\.0\.1\]?:| port )\d{4,5}\b", r"\1PORT", text)
    return f"# {head}: {what}\n{text}"


def main() -> None:
    parser = argparse.ArgumentParser(description="Record the output of tools once more; without names, all of it.")
    parser.add_argument("name", nargs="*", help=f"one of {', '.join(RECORDINGS)}")
    names = parser.parse_args().name
    if unknown := sorted(set(names) - set(RECORDINGS)):
        parser.error(f"there is no recording {', '.join(unknown)}")
    for name in names or RECORDINGS:
        try:
            text = record(name)
        except MissingToolError as error:
            print(f"{name}: kept, because {error}")
        else:
            (FOLDER / f"{name}.txt").write_text(text)
            print(f"{name}: recorded")


if __name__ == "__main__":
    main()
