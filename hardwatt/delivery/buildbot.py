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
from hardwatt.delivery import manifests
from hardwatt.delivery.manifests import Manifest
from hardwatt.delivery.runner import Runner
from hardwatt.experiment.arm import Commit, RunContext

NAME = "buildbot"
PORT = 8010
START_SECONDS = 180.0
"""Limit of the start: the master makes its database, and nothing of Python is compiled before."""

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
        ready = any(attached.conn is not None for attached in self.source.master.workers.workers.values())
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

    def secret(self) -> Manifest:
        """Return the password that the worker shows to the master; new in each run."""
        return self._manifest("v1", "Secret", stringData={"password": self._password})

    def files(self) -> Manifest:
        """Return the configuration of both."""
        data = {"master.cfg": MASTER, "master.tac": MASTER_TAC, "worker.tac": WORKER_TAC}
        return self._manifest("v1", "ConfigMap", data=data)

    def service(self) -> Manifest:
        """Return the Service at which the webhook arrives."""
        spec = {"selector": self._labels, "ports": [{"name": "http", "port": PORT, "targetPort": PORT}]}
        return self._manifest("v1", "Service", spec=spec)

    def deployment(self) -> Manifest:
        """Return one pod with both: they talk over its loopback."""
        environment = self._runner.environment(Commit(-1, "", "")) | {
            "HOME": "/run/ci",
            "PYTHONPYCACHEPREFIX": "/run/ci/python",
            "STEPS": STEPS,
        }
        del environment["COMMIT"]
        image = self.context.images[NAME]
        shared = [
            manifests.mount("work", "/run/ci", read_only=False),
            manifests.mount("files", "/etc/buildbot"),
            manifests.mount("secret", "/etc/buildbot-secret"),
        ]
        master = {
            **manifests.container("master", image, START_MASTER, environment, shared),
            "ports": [{"name": "http", "containerPort": PORT}],
            # Asked until it answers and never again: a probe would be part of what it costs to be idle.
            "startupProbe": {
                "httpGet": {"path": "/ready", "port": "http"},
                "periodSeconds": 1,
                "failureThreshold": int(START_SECONDS),
            },
        }
        key = manifests.mount("key", "/etc/runner")
        worker = manifests.container("worker", image, START_WORKER, environment, [*shared, key])
        volumes = [
            {"name": "work", "emptyDir": {}},
            {"name": "files", "configMap": {"name": NAME}},
            manifests.secret_volume("secret", NAME, 0o440),
            manifests.secret_volume("key", self._runner.secret()["metadata"]["name"], 0o400),
        ]
        account = self._runner.account()["metadata"]["name"]
        pod = manifests.pod([master, worker], volumes, grace_seconds=1, serviceAccountName=account)
        template = {"metadata": {"labels": self._labels}, "spec": pod}
        spec = {"replicas": 1, "selector": {"matchLabels": self._labels}, "template": template}
        return self._manifest("apps/v1", "Deployment", spec=spec)

    @property
    def _labels(self) -> dict[str, str]:
        return {**self.context.labels, "app.kubernetes.io/name": NAME}

    def _manifest(self, api_version: str, kind: str, **content: Any) -> Manifest:
        return manifests.manifest(self.context, api_version, kind, NAME, labels=self._labels, **content)
