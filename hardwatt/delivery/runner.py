"""A runner's Job: it clones the repository, does the steps that it is told, and ends."""

import contextlib
from collections.abc import Iterator, Mapping
from typing import Any

from hardwatt.core.errors import LabError
from hardwatt.experiment.arm import Commit, RunContext

NAME = "runner"
USER = 65534
SSH = (
    "ssh -i /etc/runner/identity -o IdentitiesOnly=yes "
    "-o UserKnownHostsFile=/etc/runner/known_hosts -o StrictHostKeyChecking=yes"
)
STEPS: Mapping[str, str] = {
    "checkout": """\
git clone --quiet --branch "$BRANCH" "$REPOSITORY" repository
cd repository
git checkout --quiet "$COMMIT"
""",
    # Work of a fixed size that needs the processor and nothing else: a compiler would bring its own scatter.
    "build": 'head -c "$BUILD_BYTES" /dev/zero | sha256sum\n',
    "test": 'head -c "$TEST_BYTES" /dev/zero | sha256sum\n',
    "deploy": 'kubectl apply --kustomize "$FOLDER"\n',
    "wait": 'kubectl --namespace "$NAMESPACE" rollout status "deployment/$APP" --timeout=60s\n',
}
"""Steps of a pipeline, in their order; each is a piece of shell."""
PUSH = ("checkout", "deploy")
BUILD_BYTES, TEST_BYTES = 200_000_000, 100_000_000
RULES = (
    {
        "apiGroups": ["apps"],
        "resources": ["deployments"],
        "verbs": ["get", "list", "watch", "create", "patch", "update"],
    },
    {"apiGroups": [""], "resources": ["services"], "verbs": ["get", "list", "create", "patch", "update"]},
)


def script(steps: tuple[str, ...]) -> str:
    """Return the shell script of these steps.

    Raises ``LabError`` naming a step that there is not.
    """
    if unknown := [step for step in steps if step not in STEPS]:
        raise LabError(f"there is no step {unknown[0]!r} of a pipeline", hint=f"steps: {', '.join(STEPS)}")
    return "cd /run/job\n" + "".join(STEPS[step] for step in STEPS if step in steps)


class Runner:
    """What a CI system's runner is in one run: an account with few rights, a key, and Jobs."""

    def __init__(self, context: RunContext) -> None:
        self.context = context

    @contextlib.contextmanager
    def allowed(self) -> Iterator[None]:
        """Give the runner its key and its rights; at the end its Jobs go too."""
        context, changes = self.context, self.context.changes
        if context.study.workload.copies != 1:
            raise LabError(
                "workload.copies: an arm that pushes delivers one copy of the application", hint="use an arm that pulls"
            )
        with contextlib.ExitStack() as stack:
            stack.enter_context(changes.applied(self.secret(), self.account(), self.role(), self.binding()))
            stack.enter_context(changes.removed("batch/v1", "Job", context.namespaces["ci"], context.selector))
            yield

    def start(self, commit: Commit, steps: tuple[str, ...] = PUSH) -> None:
        """Start the Job of one commit and do not wait for it."""
        self.context.apply(self.job(commit, steps))

    def secret(self) -> dict[str, Any]:
        """The runner's own key, read only, and the git server's host key."""
        git = self.context.git
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
            "metadata": self._meta(NAME, self.context.namespaces["workload"]),
            "rules": [dict(rule) for rule in RULES],
        }

    def binding(self) -> dict[str, Any]:
        """Gives the account its role."""
        return {
            "apiVersion": "rbac.authorization.k8s.io/v1",
            "kind": "RoleBinding",
            "metadata": self._meta(NAME, self.context.namespaces["workload"]),
            "roleRef": {"apiGroup": "rbac.authorization.k8s.io", "kind": "Role", "name": NAME},
            "subjects": [{"kind": "ServiceAccount", "name": NAME, "namespace": self.context.namespaces["ci"]}],
        }

    def environment(self, commit: Commit) -> dict[str, str]:
        """What the steps read."""
        git, workload = self.context.git, self.context.study.workload
        return {
            "APP": workload.app,
            "BRANCH": git.branch,
            "BUILD_BYTES": str(BUILD_BYTES),
            "COMMIT": commit.sha,
            "FOLDER": git.folder,
            "GIT_SSH_COMMAND": SSH,
            "HOME": "/run/job",
            "NAMESPACE": workload.namespace,
            "REPOSITORY": git.url,
            "TEST_BYTES": str(TEST_BYTES),
        }

    def job(self, commit: Commit, steps: tuple[str, ...] = PUSH) -> dict[str, Any]:
        """The Job of one commit. Its key comes from a Secret that is mounted, never from an argument."""
        context = self.context
        container = {
            "name": NAME,
            "image": context.images["runner"],
            "imagePullPolicy": "IfNotPresent",
            "command": ["/bin/sh", "-ec", script(steps)],
            "env": [{"name": key, "value": value} for key, value in self.environment(commit).items()],
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
        return {
            "apiVersion": "batch/v1",
            "kind": "Job",
            "metadata": self._meta(f"{NAME}-{context.run_id}-{commit.index + 1}"),
            "spec": {
                "backoffLimit": 0,
                "activeDeadlineSeconds": int(context.study.timing.ready_timeout_seconds),
                "template": {"metadata": {"labels": context.labels}, "spec": pod},
            },
        }

    def _meta(self, name: str, namespace: str = "") -> dict[str, Any]:
        return {"name": name, "namespace": namespace or self.context.namespaces["ci"], "labels": self.context.labels}
