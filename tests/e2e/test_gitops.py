"""Flux in the running lab: its health, what it repairs, a person's commits, the talk's queries, GitHub and its faults.

Told after the story of test_story.py, before its end (conftest).
"""

import dataclasses
import json
import re
import subprocess
import time
import urllib.parse
import urllib.request
from collections.abc import Iterator, Mapping
from pathlib import Path

import pytest
import yaml
from kubernetes import client as kubernetes

from hardwatt.cluster import client
from hardwatt.core.wait import wait
from hardwatt.dump.client import Client
from hardwatt.energy import query as energy
from hardwatt.gitops import desired_flux, flux
from hardwatt.instruments import live
from hardwatt.machines import choice
from hardwatt.mirror import fill
from tests.e2e.support import Story
from tests.gitops.github import NAME, OWNER, TOKEN, StandIn, served

pytestmark = pytest.mark.e2e

POD = "pod_curr_energy_in_pkg_millijoule{pod_name=~'source-controller.*'}"
SUM = "sum(pod_curr_energy_in_pkg_millijoule{pod_namespace='flux-system'})"
LOADED = 60
"""Seconds for which Flux is kept busy, so that there is something to measure."""


def kubectl(story: Story, *argv: str, stdin: str = "") -> str:
    tool = str(fill.load(story.lab).tool("kubectl"))
    done = subprocess.run(
        [tool, f"--kubeconfig={story.lab.kubeconfig}", *argv], input=stdin, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, f"kubectl {' '.join(argv)}: {done.stderr}"
    return done.stdout


def test_flux_check_finds_flux_healthy(story: Story) -> None:
    tool = str(fill.load(story.lab).tool("flux"))
    argv = [tool, "check", f"--kubeconfig={story.lab.kubeconfig}", f"--components={','.join(desired_flux.COMPONENTS)}"]
    done = subprocess.run(argv, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    for name in desired_flux.COMPONENTS:
        assert f"✔ {name}: deployment ready" in done.stdout + done.stderr
    assert "all checks passed" in done.stdout + done.stderr


def test_status_reconcile_and_show(story: Story) -> None:
    rows = json.loads(story.invoke("gitops.status", "--as-json").stdout)
    assert {row["name"] for row in rows} == {"flux-system", "monitoring-controllers", "monitoring-configs"}
    head = story.invoke("gitops.reconcile").stdout.strip()
    assert all(row["revision"].endswith(head) for row in rows)
    assert yaml.safe_load(story.invoke("gitops.show").stdout)["kind"] == "Component"


def test_each_image_that_flux_applied_runs_by_the_digest_of_the_generated_file(story: Story) -> None:
    named = {item["name"]: item["digest"] for item in yaml.safe_load(story.invoke("gitops.show").stdout)["images"]}
    seen = set()
    for pod in story.pods():
        if pod.namespace in ("flux-system", "monitoring"):
            for container, image in pod.images.items():
                name, _, digest = image.partition("@")
                name = re.sub(r":[^/]*$", "", name)
                assert digest == named[name], f"{pod.name} {container}"
                seen.add(name.rpartition("/")[2])
    assert {"source-controller", "kustomize-controller", "prometheus", "node-exporter"} <= seen


def test_the_mock_application_is_switched_by_a_commit(story: Story) -> None:
    story.invoke("gitops.app", "on")
    assert [pod for pod in story.pods() if pod.namespace == "mock-app" and pod.ready]
    build_and_ask(
        story, ["app", "monitoring/controllers", "monitoring/configs", "monitoring/kepler", "monitoring/grafana"]
    )
    story.invoke("gitops.app", "off")
    wait(
        lambda: [pod.name for pod in story.pods() if pod.namespace == "mock-app"],
        lambda pods: not pods,
        what="end of the mock application",
        timeout=60,
    )


def build_and_ask(story: Story, parts: list[str]) -> None:
    """Build each part as Flux does and have the API server check it, field by field, without applying it."""
    folder = Path(story.env["HARDWATT_CONFIG"]).parent / "built"
    story.invoke("gitops.clone", str(folder))
    for path in ("clusters/lab/flux-system", *(f"clusters/base/{part}" for part in parts)):
        overlay = folder / "overlay"
        overlay.mkdir(exist_ok=True)
        component = [] if path.endswith("flux-system") else ["../clusters/generated/lab"]
        (overlay / "kustomization.yaml").write_text(
            yaml.safe_dump({"resources": [f"../{path}"], "components": component})
        )
        text = kubectl(story, "kustomize", str(overlay))
        answer = kubectl(story, "apply", "--server-side", "--force-conflicts", "--dry-run=server", "--validate=strict",
                         "--filename=-", stdin=text)  # fmt: skip
        assert answer.count("(server dry run)") == len([one for one in yaml.safe_load_all(text) if one]), path


@pytest.fixture(scope="module")
def url(story: Story) -> Iterator[str]:
    yield story.invoke("lab.forward", "prometheus", "--port", "19091").stdout.split()[-1]
    story.invoke("lab.forward", "prometheus", "--stop")


def curl(url: str, query: str, at: float = 0) -> float:
    """Ask as the talk did; return the one value."""
    asked = {"query": query, **({"time": str(at)} if at else {})}
    data = urllib.parse.urlencode(asked)
    done = subprocess.run(
        ["curl", "--silent", "--fail", "--data", data, f"{url}/api/v1/query"],
        capture_output=True,
        text=True,
        check=True,
    )
    found = json.loads(done.stdout)["data"]["result"]
    assert len(found) == 1, (query, found)
    return float(found[0]["value"][1])


@pytest.fixture(scope="module")
def busy(story: Story) -> tuple[float, float]:
    """A minute in which Flux fetches and applies without a pause: its two edges, in seconds."""
    with client.connect(story.lab) as api:
        cluster = flux.FluxObjects(api)
        rounds: list[float] = []

        def once() -> float:
            body = {"metadata": {"annotations": {flux.REQUESTED: str(time.time())}}}
            for kind in (flux.SOURCE, flux.KUSTOMIZE):
                for name in cluster.items(kind):
                    cluster.patch(kind, name, body)
            rounds.append(time.time())
            return rounds[-1]

        wait(once, lambda now: now > rounds[0] + LOADED + 20, what="busy minute", timeout=LOADED + 60, delay=0.5)
    return rounds[0] + 10, rounds[0] + 10 + LOADED


def raw(url: str, start: float, end: float) -> dict[str, float]:
    """3000 x share x watts in the window, from raw samples: of source-controller, and of its namespace."""
    with Client(url) as client:
        samples = {
            metric: client.samples(f"{selector}[{LOADED + 60}s]", int((end + 16) * 1000))[0]
            for metric, selector in live.selectors("package").items()
        }
    rows = live.energy(samples, "package", start * 1000, end * 1000)
    (node,) = [row for row in rows if not row.pod]
    watts = node.joules.value / (end - start)
    shares = {(row.namespace, row.pod): row.cpu_seconds.value / node.cpu_seconds.value for row in rows if row.pod}
    return {
        "pod": 3000 * watts * sum(share for (_, pod), share in shares.items() if pod.startswith("source-controller")),
        "sum": 3000 * watts * sum(share for (space, _), share in shares.items() if space == "flux-system"),
    }


@pytest.mark.long  # a busy machine beside it moves the two further apart than 5 %
def test_the_talks_curl_answers_share_times_watts(story: Story, url: str, busy: tuple[float, float]) -> None:
    start, end = busy
    wait(lambda: time.time() - end, lambda late: late > 17, what="last reading of cAdvisor", timeout=40, delay=1)
    expected = raw(url, start, end)
    for name, query in (("pod", POD), ("sum", SUM)):
        assert curl(url, query, end) > 0
        mean = curl(url, f"avg_over_time(({query})[{LOADED}s:3s])", end)
        print(f"{name}: PromQL {mean:.1f}, raw samples {expected[name]:.1f} mJ in 3 s")
        assert mean == pytest.approx(expected[name], rel=0.05)


@pytest.mark.long
def test_energy_query_gives_the_same(story: Story, url: str, busy: tuple[float, float]) -> None:
    at = f"@ {busy[1]:.3f}"
    (row,) = json.loads(story.invoke("energy.query", SUM.replace("'}", f"'}} {at}"), "--as-json").stdout)
    assert row["value"] == pytest.approx(curl(url, SUM, busy[1]))
    named = json.loads(story.invoke("energy.query", "namespace-sum", "--as-json").stdout)
    assert [(one["pod_namespace"], one["unit"]) for one in named] == [("flux-system", "mJ per 3 s")]
    joules = json.loads(story.invoke("energy.query", "pod-package", "--last", "1m", "--as-json").stdout)
    assert {one["namespace"] for one in joules} == {energy.NAMESPACE}
    assert all(one["low"] <= one["joules"] <= one["high"] for one in joules)


def test_a_deleted_statefulset_is_repaired_by_flux(story: Story) -> None:
    with client.connect(story.lab) as api:
        kubernetes.AppsV1Api(api).delete_namespaced_stateful_set("prometheus-k8s", "monitoring")
    done = story.invoke("lab.up", "--only", "gitops", "--only", "ready")
    assert "Flux repaired StatefulSet monitoring/prometheus-k8s" in done.stderr
    assert [pod for pod in story.pods() if pod.name == "prometheus-k8s-0" and pod.ready]


def git(folder: Path, *argv: str) -> str:
    name = ["-c", "user.name=Ada", "-c", "user.email=ada@example.org"]
    done = subprocess.run(["git", "-C", str(folder), *name, *argv], capture_output=True, text=True, check=True)
    return done.stdout.strip()


def test_a_persons_commit_survives_and_a_conflict_is_refused_with_both_sides(story: Story, tmp_path: Path) -> None:
    folder = tmp_path / "clone"
    story.invoke("gitops.clone", str(folder))
    mine = {"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "mine", "namespace": "default"}}
    (folder / "clusters/lab/mine.yaml").write_text(yaml.safe_dump(mine))
    git(folder, "add", "--all")
    git(folder, "commit", "--quiet", "-m", "mine")
    git(folder, "push", "--quiet")
    story.invoke("lab.up", "--only", "gitops")
    assert "configmap/mine" in kubectl(story, "-n", "default", "get", "configmap", "mine", "-o", "name")
    path = folder / "clusters/generated/lab/kustomization.yaml"
    kept = path.read_text()
    path.write_text(kept.replace("24h", "25h"))
    git(folder, "rm", "--quiet", "clusters/lab/mine.yaml")
    git(folder, "commit", "--quiet", "-am", "longer")
    git(folder, "push", "--quiet")
    done = story.invoke("lab.up", "--only", "gitops", check=False)
    assert done.returncode == 1
    assert re.search(r"-.*25h", done.stderr) and re.search(r"\+.*24h", done.stderr)
    assert "by Ada" in done.stderr
    path.write_text(kept)
    git(folder, "commit", "--quiet", "-am", "as it was")
    git(folder, "push", "--quiet")
    story.invoke("lab.up", "--only", "gitops")


@dataclasses.dataclass
class OnGitHub:
    """The same lab with ``kind = "github"``."""

    standin: StandIn
    story: Story

    def up(self, token: str = TOKEN, check: bool = True, **more: str) -> "subprocess.CompletedProcess[str]":
        """Run lab.up's step with settings changed for this once."""
        values = {
            "kind": "github", "owner": OWNER, "repository": NAME, "hostname": self.standin.hostname,
            "ssh_hostname": self.standin.ssh_hostname, "ca_file": str(self.standin.ca), **more,
        }  # fmt: skip
        return self._up(values, {"GITHUB_TOKEN": token}, check)

    def up_over_https(self) -> "subprocess.CompletedProcess[str]":
        """Run it with the same repository as a git server of one's own."""
        values = {"url": self.standin.url, "username": OWNER, "ca_file": str(self.standin.ca)}
        return self._up(values, {"GIT_PASSWORD": TOKEN}, True)

    def _up(
        self, values: Mapping[str, str], secret: Mapping[str, str], check: bool
    ) -> "subprocess.CompletedProcess[str]":
        config = Path(self.story.env["HARDWATT_CONFIG"])
        text = "".join(f"{key} = {json.dumps(value)}\n" for key, value in values.items())
        other = config.with_name("github.toml")
        other.write_text(config.read_text() + f"[gitops]\n{text}")
        env = {**self.story.env, "HARDWATT_CONFIG": str(other), **secret}
        done = dataclasses.replace(self.story, env=env).invoke("lab.up", "--only", "gitops", check=check)
        assert TOKEN not in done.stdout + done.stderr
        return done


@pytest.fixture(scope="module")
def on_github(story: Story, tmp_path_factory: pytest.TempPathFactory) -> Iterator[OnGitHub]:
    address = choice.machine_for(story.lab).endpoint().controller_address
    with served(tmp_path_factory.mktemp("github"), address) as standin:
        yield OnGitHub(standin, story)
        # Back to the repository on the node: the lab of the tests that follow.
        story.invoke("lab.up", "--only", "gitops", "--only", "ready")


def test_flux_bootstrap_github_makes_a_repository_and_flux_reads_it(story: Story, on_github: OnGitHub) -> None:
    done = on_github.up()
    assert f"repository {OWNER}/{NAME} on" in done.stderr
    assert "flux bootstrap v" in done.stderr
    (key,) = on_github.standin.keys
    assert key["read_only"] is True
    with client.connect(story.lab) as api:
        source = flux.FluxObjects(api).items(flux.SOURCE)["flux-system"]
        secret = flux.FluxObjects(api).secret()
    assert source["spec"]["url"] == f"ssh://git@{on_github.standin.ssh_hostname}/{OWNER}/{NAME}"
    assert set(secret) == {"identity", "identity.pub", "known_hosts"}
    assert "No changes" in on_github.up().stderr


def test_the_token_is_nowhere_but_with_its_owner(story: Story, on_github: OnGitHub) -> None:
    assert TOKEN not in "".join(path.read_text() for path in story.lab.logs.rglob("*.log"))
    assert TOKEN not in kubectl(story, "get", "secrets", "--all-namespaces", "-o", "yaml")
    looked = (
        f"grep -rslF {TOKEN[:8]}[{TOKEN[8]}]{TOKEN[9:]} /etc /root /srv /tmp /run /var/log /var/lib/kubelet || true"
    )
    with story.node() as node:
        assert node.run(looked).stdout == ""


def test_flux_bootstrap_git_over_https(story: Story, on_github: OnGitHub) -> None:
    assert "flux bootstrap v" in on_github.up_over_https().stderr
    with client.connect(story.lab) as api:
        secret = flux.FluxObjects(api).secret()
        source = flux.FluxObjects(api).items(flux.SOURCE)["flux-system"]
    assert source["spec"]["url"] == on_github.standin.url
    assert set(secret) == {"username", "password", "ca.crt"}
    assert "No changes" in on_github.up_over_https().stderr
    assert "flux bootstrap v" in on_github.up().stderr
    with client.connect(story.lab) as api:
        assert "password" not in flux.FluxObjects(api).secret()


def test_every_fault_is_one_clear_error_and_the_lab_goes_on(story: Story, on_github: OnGitHub) -> None:
    standin = on_github.standin

    def says(text: str, **more: str) -> None:
        done = on_github.up(check=False, **more)
        assert done.returncode == 1, text
        assert text in done.stderr
        assert "Traceback" not in done.stderr
        assert "next:" in done.stderr

    says("refuses the token", token="ghp_wrong")
    standin.push = False
    says("not push to it")
    standin.push, standin.down = True, True
    says("answers 503")
    standin.down = False
    says("does not answer", hostname="localhost:9")
    says("there is no folder clusters/none", path="clusters/none")
    story.invoke("gitops.status")


def test_a_branch_that_was_rewritten_is_filled_again(story: Story, on_github: OnGitHub, tmp_path: Path) -> None:
    folder = tmp_path / "clone"
    subprocess.run(["git", "clone", "--quiet", str(on_github.standin.repository), str(folder)], check=True)
    git(folder, "checkout", "--quiet", "--orphan", "fresh")
    git(folder, "rm", "-r", "--quiet", "--cached", ".")
    git(folder, "commit", "--quiet", "--allow-empty", "-m", "start again")
    git(folder, "push", "--quiet", "--force", "origin", "HEAD:main")
    assert "flux bootstrap, because the repository holds Flux not yet" in on_github.up().stderr
    assert "No changes" in on_github.up().stderr
