"""A runner's Job: it clones the repository, does the steps that it is told, and ends."""

import contextlib
from collections.abc import Iterator, Mapping

from hardwatt.core.errors import LabError
from hardwatt.delivery import manifests
from hardwatt.delivery.manifests import Manifest
from hardwatt.experiment.arm import Commit, RunContext

NAME = "runner"
RBAC = "rbac.authorization.k8s.io"
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
KEPT_SECONDS = 3
"""A Job and its pod are removed so long after their end: cleaning up is part of what pushing costs, so it lies inside
the window. Pull leaves nothing that somebody has to remove."""
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
    """A CI system's runner in one run: an account with few rights, a key, and Jobs."""

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

    def secret(self) -> Manifest:
        """Return the runner's own key, read only, and the git server's host key."""
        return manifests.git_secret(self.context, NAME, "runner")

    def account(self) -> Manifest:
        """Return the Job's own account."""
        return manifests.manifest(self.context, "v1", "ServiceAccount", NAME)

    def role(self) -> Manifest:
        """Return the rights of the Job, in the application's namespace alone."""
        rules = [dict(rule) for rule in RULES]
        return manifests.manifest(self.context, f"{RBAC}/v1", "Role", NAME, "workload", rules=rules)

    def binding(self) -> Manifest:
        """Return the object that gives the account its role."""
        role = {"apiGroup": RBAC, "kind": "Role", "name": NAME}
        account = {"kind": "ServiceAccount", "name": NAME, "namespace": self.context.namespaces["ci"]}
        return manifests.manifest(
            self.context, f"{RBAC}/v1", "RoleBinding", NAME, "workload", roleRef=role, subjects=[account]
        )

    def environment(self, commit: Commit) -> dict[str, str]:
        """Return the variables that the steps read."""
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

    def job(self, commit: Commit, steps: tuple[str, ...] = PUSH) -> Manifest:
        """Return the Job of one commit. Its key comes from a Secret that is mounted, never from an argument."""
        context = self.context
        mounts = [manifests.mount("work", "/run/job", read_only=False), manifests.mount("key", "/etc/runner")]
        runner = manifests.container(NAME, context.images["runner"], script(steps), self.environment(commit), mounts)
        volumes = [{"name": "work", "emptyDir": {}}, manifests.secret_volume("key", NAME, 0o400)]
        return manifests.job(
            context,
            f"{NAME}-{context.run_id}-{commit.index + 1}",
            manifests.pod([runner], volumes, grace_seconds=1, serviceAccountName=NAME),
            context.labels,
            activeDeadlineSeconds=int(context.study.timing.ready_timeout_seconds),
            ttlSecondsAfterFinished=KEPT_SECONDS,
        )
