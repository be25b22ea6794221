"""One lab's repository, its server and its Flux: what each kind of server needs before and during a bootstrap."""

import functools
from pathlib import Path

from hardwatt.config.lab import Lab
from hardwatt.connect import ssh_routes, tunnels
from hardwatt.connect.endpoint import Endpoint
from hardwatt.core.progress import say
from hardwatt.gitops import desired_flux, flux_cli, git_remote, github, tree
from hardwatt.gitops.desired_flux import DesiredFlux
from hardwatt.gitops.flux import FluxObjects
from hardwatt.gitops.git_remote import GitRemote
from hardwatt.gitops.repository import Repository
from hardwatt.machines.lab_context import LabContext
from hardwatt.mirror.index import Index
from hardwatt.provision import git_keys


class GitOpsDeployment:
    """The place of a lab's repository, and the parts of it that are asked for only once a command."""

    def __init__(self, lab: Lab, index: Index) -> None:
        self._lab, self._index, self._settings = lab, index, lab.settings.gitops
        self.endpoint: Endpoint = LabContext.of(lab).endpoint
        self.files = tree.desired(lab, index, self.endpoint.kind, self.endpoint.scrape_interval)

    @functools.cached_property
    def home(self) -> GitRemote:
        return git_remote.git_remote_of(self._lab, self.endpoint)

    @functools.cached_property
    def repository(self) -> Repository:
        return git_remote.repository(self._lab, "lab", self.endpoint)

    @functools.cached_property
    def github(self) -> github.GitHub:
        return github.GitHub(self._settings, self.home.password)

    @functools.cached_property
    def _flux(self) -> Path:
        return self._index.tool("flux")

    def prepare(self) -> list[str]:
        """Have the repository on GitHub, where it is to be there; return what was made. Raises ``LabError``."""
        if self.home.kind != "github" or self.github.exists():
            return []
        self.github.create()
        return [f"repository {self.github.name} on {self._settings.hostname}"]

    def answers(self) -> bool:
        """Return whether there is a repository to look at. Makes nothing; raises ``LabError``."""
        if git_remote.kind(self._settings) == "node":
            return git_keys.path(self._lab, "controller").exists() and ssh_routes.ssh_answers(
                self.endpoint, git_keys.PORT
            )
        return self.home.kind != "github" or self.github.exists()

    def wanted(self) -> DesiredFlux:
        """Return what ``flux bootstrap`` is asked for. Raises ``LabError``."""
        where, settings = self.home, self._settings
        known, public = where.known_hosts, tuple[str, ...]()
        login = (settings.username, where.password) if where.kind == "https" else None
        if where.kind == "github":
            known, public = known or self.github.host_keys(), self.github.deploy_keys()
        elif login is None:
            public = (git_keys.ensure(self._lab)["flux" if where.on_node else "controller"],)
        return DesiredFlux(
            version=flux_cli.version(self._flux),
            url=where.sync,
            branch=settings.branch,
            path=tree.cluster_path(self._lab),
            interval=settings.interval,
            public_keys=public,
            known_hosts=known,
            login=login,
            components=self._components(),
        )

    def _components(self) -> tuple[str, ...]:
        held = [name for name in desired_flux.MORE_COMPONENTS if self._index.has_image(name)]
        carried = flux_cli.carried(self._flux, held)
        for name in sorted(set(held) - set(carried)):
            say(f"{name} is left out: its image is in the mirror, but the flux CLI built here has no manifests of it")
        return (*desired_flux.COMPONENTS, *carried)

    def bootstrap(self, cluster: FluxObjects, wanted: DesiredFlux) -> None:
        """Run ``flux bootstrap``. Raises ``LabError`` with what it said last."""
        argv = flux_cli.bootstrap_argv(self._flux, self._lab.kubeconfig, wanted, self._source())
        if self.home.on_node:
            self._bootstrap_on_node(cluster, argv)
            return
        if wanted.secret_differs(cluster.secret()):
            cluster.forget_secret()
        flux_cli.bootstrap(argv, self._secrets(), self.home.url, self._lab.logs / "flux.log")

    def _bootstrap_on_node(self, cluster: FluxObjects, argv: list[str]) -> None:
        """Bootstrap from the node's own server, whose host key is known and whose keys are the lab's.

        flux pushes with the controller's key, so that Flux's own key never may. It names the repository as the cluster
        reaches it, and goes there by a proxy where this machine does not reach that.
        """
        lab, logs, (known,) = self._lab, self._lab.logs, self.home.known_hosts
        public, private = git_keys.ensure(lab)["flux"], git_keys.path(lab, "flux").read_text()
        cluster.store_secret({"identity": private, "identity.pub": f"{public}\n", "known_hosts": f"{known}\n"})
        with tunnels.socks(self.endpoint, logs / "socks.log") as proxy:
            command = flux_cli.with_key(argv, git_keys.path(lab, "controller"))
            flux_cli.bootstrap(command, {**self.home.env, **proxy}, self.home.url, logs / "flux.log")

    def _source(self) -> list[str]:
        """Return the arguments that say where the repository is: no secret is among them."""
        settings, where = self._settings, self.home
        bundle = github.ca_bundle(settings)
        ca = [f"--ca-file={bundle}"] if bundle else []
        if where.kind == "github":
            ssh = [f"--ssh-hostname={settings.ssh_hostname}"] if settings.ssh_hostname else []
            return [
                "github", f"--owner={settings.owner}", f"--repository={settings.repository}",
                f"--hostname={settings.hostname}", f"--personal={str(settings.personal).lower()}",
                f"--private={str(settings.private).lower()}", *ssh, *ca,
            ]  # fmt: skip
        url = ["git", f"--url={where.url}", "--silent"]
        if where.kind == "https":
            return [*url, "--token-auth", f"--username={settings.username}", *ca]
        return url if where.on_node else [*url, f"--private-key-file={where.key}"]

    def _secrets(self) -> dict[str, str]:
        names = {"github": "GITHUB_TOKEN", "https": "GIT_PASSWORD"}
        return {names[self.home.kind]: self.home.password} if self.home.kind in names else {}
