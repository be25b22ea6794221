"""Push: each commit starts a Job in the cluster that clones the repository and applies it.

No CI server runs: the controller of the experiment creates the Job, as a CI system would on a
webhook. That is push at its cheapest.
"""

import contextlib
from collections.abc import Iterator
from typing import Any

from hardwatt.engine.arm import BaseArm, Commit

NAME = "runner"
FLUX_CONTROLLERS = ("kustomize-controller", "source-controller")
SCRIPT = """\
git clone --quiet --branch "$BRANCH" "$REPOSITORY" /run/job/repository
cd /run/job/repository
git checkout --quiet "$COMMIT"
kubectl apply --kustomize "$FOLDER"
"""
SSH = (
    "ssh -i /etc/runner/identity -o IdentitiesOnly=yes "
    "-o UserKnownHostsFile=/etc/runner/known_hosts -o StrictHostKeyChecking=yes"
)
USER = 65534
RULES = (
    {"apiGroups": ["apps"], "resources": ["deployments"], "verbs": ["get", "list", "create", "patch", "update"]},
    {"apiGroups": [""], "resources": ["services"], "verbs": ["get", "list", "create", "patch", "update"]},
)


class Arm(BaseArm):
    """Flux is off; a Job per commit pushes."""

    @contextlib.contextmanager
    def prepare(self) -> Iterator[None]:
        """Make sure that Flux is off and give the runner its rights.

        kustomize-controller goes first: otherwise it could start the others again.
        """
        bench, changes = self.bench, self.bench.changes
        with contextlib.ExitStack() as stack:
            for name in FLUX_CONTROLLERS:
                stack.enter_context(changes.scaled(bench.namespaces["flux"], name, 0))
            stack.enter_context(changes.applied(self.secret(), self.account(), self.role(), self.binding()))
            stack.enter_context(changes.removed("batch/v1", "Job", bench.namespaces["ci"], self._selector))
            yield

    def deliver(self, commit: Commit) -> None:
        """Start the Job."""
        self.bench.apply(self.job(commit))

    def secret(self) -> dict[str, Any]:
        """The runner's own key, read only, and the git server's host key."""
        git = self.bench.git
        return {
            "apiVersion": "v1",
            "kind": "Secret",
            "metadata": self._meta(NAME),
            "stringData": {"identity": git.keys["runner"], "known_hosts": git.known_hosts},
        }

    def account(self) -> dict[str, Any]:
        """The Job's own account."""
        return {"apiVersion": "v1", "kind": "ServiceAccount", "metadata": self._meta(NAME)}

    def role(self) -> dict[str, Any]:
        """What the Job may do, in the application's namespace alone."""
        return {
            "apiVersion": "rbac.authorization.k8s.io/v1",
            "kind": "Role",
            "metadata": self._meta(NAME, self.bench.namespaces["workload"]),
            "rules": [dict(rule) for rule in RULES],
        }

    def binding(self) -> dict[str, Any]:
        """Gives the account its role."""
        return {
            "apiVersion": "rbac.authorization.k8s.io/v1",
            "kind": "RoleBinding",
            "metadata": self._meta(NAME, self.bench.namespaces["workload"]),
            "roleRef": {"apiGroup": "rbac.authorization.k8s.io", "kind": "Role", "name": NAME},
            "subjects": [{"kind": "ServiceAccount", "name": NAME, "namespace": self.bench.namespaces["ci"]}],
        }

    def job(self, commit: Commit) -> dict[str, Any]:
        """The Job of one commit. Its key comes from a Secret that is mounted, never from an argument."""
        git = self.bench.git
        environment = {
            "BRANCH": git.branch,
            "COMMIT": commit.sha,
            "FOLDER": git.folder,
            "GIT_SSH_COMMAND": SSH,
            "HOME": "/run/job",
            "REPOSITORY": git.url,
        }
        container = {
            "name": NAME,
            "image": self.bench.images["runner"],
            "imagePullPolicy": "IfNotPresent",
            "command": ["/bin/sh", "-ec", SCRIPT],
            "env": [{"name": key, "value": value} for key, value in environment.items()],
            "volumeMounts": [
                {"name": "work", "mountPath": "/run/job"},
                {"name": "key", "mountPath": "/etc/runner", "readOnly": True},
            ],
        }
        pod = {
            "restartPolicy": "Never",
            "serviceAccountName": NAME,
            "terminationGracePeriodSeconds": 1,
            "securityContext": {"runAsNonRoot": True, "runAsUser": USER, "runAsGroup": USER, "fsGroup": USER},
            "containers": [container],
            "volumes": [
                {"name": "work", "emptyDir": {}},
                {"name": "key", "secret": {"secretName": NAME, "defaultMode": 0o400}},
            ],
        }
        labels = {"hardwatt.dev/run": self.bench.run_id}
        return {
            "apiVersion": "batch/v1",
            "kind": "Job",
            "metadata": self._meta(f"{NAME}-{self.bench.run_id}-{commit.index + 1}"),
            "spec": {
                "backoffLimit": 0,
                "activeDeadlineSeconds": int(self.bench.study.timing.ready_timeout_seconds),
                "template": {"metadata": {"labels": labels}, "spec": pod},
            },
        }

    @property
    def _selector(self) -> str:
        return f"hardwatt.dev/run={self.bench.run_id}"

    def _meta(self, name: str, namespace: str = "") -> dict[str, Any]:
        labels = {"hardwatt.dev/run": self.bench.run_id}
        return {"name": name, "namespace": namespace or self.bench.namespaces["ci"], "labels": labels}
