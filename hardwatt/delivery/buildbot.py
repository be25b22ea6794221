"""A CI server that is always on: Buildbot's master and its worker, as a small team would run them.

The master waits for a webhook, queues a build, and its worker does what a runner's Job does, in a
clone that it keeps. Both idle between commits, and that is part of what push costs.
"""

import contextlib
import secrets
from collections.abc import Iterator
from typing import Any

from hardwatt.cluster.conditions import wait_condition
from hardwatt.core.errors import LabError
from hardwatt.delivery.runner import USER, Runner
from hardwatt.experiment.arm import Commit, RunContext

NAME = "buildbot"
PORT = 8010
START_SECONDS = 180.0
"""What the start may take: the master makes its database, and nothing of Python is compiled before."""

MASTER = """\
import os

from buildbot.changes.base import ChangeSource
from buildbot.plugins import schedulers, steps, util, worker
from twisted.internet import defer, reactor
from twisted.web import resource, server


class Hook(resource.Resource):
    # POST /SHA.REVISION stands for what a git server's webhook would send; GET /ready for the kubelet.
    isLeaf = True

    def __init__(self, source):
        super().__init__()
        self.source = source

    def render_GET(self, request):
        ready = any(one.conn is not None for one in self.source.master.workers.workers.values())
        request.setResponseCode(200 if ready else 503)
        return b""

    def render_POST(self, request):
        sha, _, revision = request.path.decode().strip("/").partition(".")
        done = self.source.change(sha, revision)
        done.addCallbacks(lambda _: request.finish(), lambda failure: request.processingFailed(failure))
        return server.NOT_DONE_YET


class Webhook(ChangeSource):
    port = None

    def activate(self):
        self.port = reactor.listenTCP(8010, server.Site(Hook(self)))
        return defer.succeed(None)

    def deactivate(self):
        return self.port.stopListening()

    def change(self, sha, revision):
        return self.master.data.updates.addChange(
            author="lab", branch=os.environ["BRANCH"], comments=revision, files=[], project="", repository="lab",
            revision=sha, src="git")


build = util.BuildFactory()
build.addStep(steps.ShellCommand(
    name="deploy", command=["/bin/sh", "-ec", os.environ["STEPS"]], haltOnFailure=True, logEnviron=False,
    env={"COMMIT": util.Interpolate("%(src::revision)s")}))
c = BuildmasterConfig = {
    "buildbotNetUsageData": None,
    "builders": [util.BuilderConfig(name="deploy", workernames=["worker"], factory=build)],
    "change_source": [Webhook(name="webhook")],
    "db": {"db_url": "sqlite:///state.sqlite"},
    "protocols": {"pb": {"port": "tcp:9989:interface=127.0.0.1"}},
    "schedulers": [schedulers.AnyBranchScheduler(name="all", builderNames=["deploy"], treeStableTimer=None)],
    "title": "lab",
    "workers": [worker.Worker("worker", open("/etc/buildbot-secret/password").read())],
}
"""

MASTER_TAC = """\
from buildbot.master import BuildMaster
from twisted.application import service

application = service.Application('buildmaster')  # upgrade-master looks for these very words
BuildMaster("/run/ci/master", "master.cfg").setServiceParent(application)
"""

WORKER_TAC = """\
from buildbot_worker.bot import Worker
from twisted.application import service

application = service.Application("buildbot-worker")
password = open("/etc/buildbot-secret/password").read()
Worker("127.0.0.1", 9989, "worker", password, "/run/ci/worker", 600, maxdelay=2).setServiceParent(application)
"""

START_MASTER = """\
mkdir -p /run/ci/master
cp /etc/buildbot/master.cfg /run/ci/master/
cp /etc/buildbot/master.tac /run/ci/master/buildbot.tac
buildbot upgrade-master --quiet /run/ci/master
cd /run/ci/master
exec twistd3 --nodaemon --pidfile= --python=buildbot.tac
"""

START_WORKER = """\
mkdir -p /run/ci/worker/info
cd /run/ci/worker
exec twistd3 --nodaemon --pidfile= --python=/etc/buildbot/worker.tac
"""

STEPS = """\
[ -d repository ] || git clone --quiet --branch "$BRANCH" "$REPOSITORY" repository
cd repository
git fetch --quiet origin "$BRANCH"
git checkout --quiet "$COMMIT"
kubectl apply --kustomize "$FOLDER"
"""


class Buildbot:
    """The CI server in one run."""

    def __init__(self, context: RunContext) -> None:
        self.context = context
        self._runner = Runner(context)
        self._password = secrets.token_urlsafe(24)

    @contextlib.contextmanager
    def running(self) -> Iterator[None]:
        """Start master and worker, and wait until the worker is connected.

        Raises ``LabError`` where the mirror does not hold the image.
        """
        context = self.context
        if NAME not in context.images:
            raise LabError(
                "the image hardwatt.dev/buildbot is not in the mirror",
                hint="invoke mirror.fill --only ci, then invoke lab.up",
            )
        objects = (self.secret(), self.files(), self.service(), self.deployment())
        with self._runner.allowed(), context.changes.applied(*objects):
            wait_condition(
                context.changes.cluster, "apps/v1", "Deployment", context.namespaces["ci"], NAME,
                timeout=START_SECONDS, what="Available",
            )  # fmt: skip
            yield

    def deliver(self, commit: Commit) -> None:
        """Tell the master of a commit, as a git server's webhook does."""
        cluster = self.context.changes.cluster
        cluster.post(self.context.namespaces["ci"], NAME, PORT, f"{commit.sha}.{commit.revision}")

    def secret(self) -> dict[str, Any]:
        """What the worker shows to the master; new in each run."""
        return {
            "apiVersion": "v1", "kind": "Secret", "metadata": self._meta(), "stringData": {"password": self._password},
        }  # fmt: skip

    def files(self) -> dict[str, Any]:
        """The configuration of both."""
        data = {"master.cfg": MASTER, "master.tac": MASTER_TAC, "worker.tac": WORKER_TAC}
        return {"apiVersion": "v1", "kind": "ConfigMap", "metadata": self._meta(), "data": data}

    def service(self) -> dict[str, Any]:
        """Where the webhook arrives."""
        spec = {"selector": self._labels, "ports": [{"name": "http", "port": PORT, "targetPort": PORT}]}
        return {"apiVersion": "v1", "kind": "Service", "metadata": self._meta(), "spec": spec}

    def deployment(self) -> dict[str, Any]:
        """One pod with both: they talk over its loopback."""
        environment = self._runner.environment(Commit(-1, "", "")) | {
            "HOME": "/run/ci",
            "PYTHONPYCACHEPREFIX": "/run/ci/python",
            "STEPS": STEPS,
        }
        del environment["COMMIT"]
        env = [{"name": key, "value": value} for key, value in environment.items()]
        work = {"name": "work", "mountPath": "/run/ci"}
        files = {"name": "files", "mountPath": "/etc/buildbot", "readOnly": True}
        secret = {"name": "secret", "mountPath": "/etc/buildbot-secret", "readOnly": True}
        key = {"name": "key", "mountPath": "/etc/runner", "readOnly": True}
        master = {
            **self._container("master", START_MASTER, env, [work, files, secret]),
            "ports": [{"name": "http", "containerPort": PORT}],
            # Asked until it answers and never again: a probe would be part of what it costs to be idle.
            "startupProbe": {
                "httpGet": {"path": "/ready", "port": "http"},
                "periodSeconds": 1,
                "failureThreshold": int(START_SECONDS),
            },
        }
        worker = self._container("worker", START_WORKER, env, [work, files, secret, key])
        pod = {
            "serviceAccountName": self._runner.account()["metadata"]["name"],
            "terminationGracePeriodSeconds": 1,
            "securityContext": {"runAsNonRoot": True, "runAsUser": USER, "runAsGroup": USER, "fsGroup": USER},
            "containers": [master, worker],
            "volumes": [
                {"name": "work", "emptyDir": {}},
                {"name": "files", "configMap": {"name": NAME}},
                {"name": "secret", "secret": {"secretName": NAME, "defaultMode": 0o440}},
                {"name": "key", "secret": {"secretName": self._runner.secret()["metadata"]["name"],
                                           "defaultMode": 0o400}},
            ],
        }  # fmt: skip
        return {
            "apiVersion": "apps/v1",
            "kind": "Deployment",
            "metadata": self._meta(),
            "spec": {
                "replicas": 1,
                "selector": {"matchLabels": self._labels},
                "template": {"metadata": {"labels": self._labels}, "spec": pod},
            },
        }

    def _container(
        self, name: str, start: str, env: list[dict[str, str]], mounts: list[dict[str, Any]]
    ) -> dict[str, Any]:
        return {
            "name": name,
            "image": self.context.images[NAME],
            "imagePullPolicy": "IfNotPresent",
            "command": ["/bin/sh", "-ec", start],
            "env": env,
            "volumeMounts": mounts,
        }

    @property
    def _labels(self) -> dict[str, str]:
        return {**self.context.labels, "app.kubernetes.io/name": NAME}

    def _meta(self) -> dict[str, Any]:
        return {"name": NAME, "namespace": self.context.namespaces["ci"], "labels": self._labels}
