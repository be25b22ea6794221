"""Bootstrap of GitOps: the lab's repository is filled, Flux is in the cluster, and it applied all of the repository."""

import dataclasses
from collections.abc import Mapping, Sequence

from kubernetes import client as kubernetes

from hardwatt.cluster import client
from hardwatt.config.lab import Lab
from hardwatt.core.progress import say
from hardwatt.gitops import addons, component, desired_flux, drift, flux, put_back, tree
from hardwatt.gitops.deployment import GitOpsDeployment
from hardwatt.gitops.readiness import Key, Lack, Readiness
from hardwatt.gitops.repository import Repository
from hardwatt.gitops.state import expected, look
from hardwatt.mirror.index import Index

_LISTED = 5


@dataclasses.dataclass(frozen=True)
class GitopsOutcome:
    """Changes of a run (empty: nothing), and the commit that the cluster holds now."""

    changed: tuple[str, ...]
    head: str


def bootstrap(
    lab: Lab, index: Index, switched_off: Mapping[Key, str] | None = None, *, restarted: bool = False
) -> GitopsOutcome:
    """Fill the lab's repository, have Flux in the cluster, and wait until it applied all of it.

    With nothing to do it only reads: no commit, no push, no change in the cluster.

    What somebody scaled or deleted is put back, unless Flux is suspended there; ``switched_off`` is what an
    experiment's journal says, and is left alone too. ``restarted``: the machine was started since Flux said anything;
    what it said is from before, so that it is asked to apply again.

    Raises ``RefusedError`` where a person's commit and lab.up's files conflict, or where Flux
    stored another host key than the lab knows; ``GitServerError`` where the git server is down or refuses.
    """
    place = GitOpsDeployment(lab, index)
    if missing := component.left_out(index):
        say(f"  left out, for want of an image (invoke mirror.import): {', '.join(missing)}")
    changed = place.prepare()
    repo = place.repository
    changed += _summary(repo.publish(place.files, generated=tree.generated_folder(lab)))
    wanted = place.wanted()
    with client.connect(lab) as api:
        cluster = flux.FluxObjects(api)

        def seen() -> Readiness:
            return look(api, items, switched_off)

        items = expected(lab, index, repo)
        put_back.settle(cluster, seen)
        if index.has_image("grafana") and addons.ensure_grafana_password(kubernetes.CoreV1Api(api)):
            changed.append("password of Grafana")
        changed += put_back.scale(api, _of_git(seen()))
        if reason := _why_bootstrap(lab, repo, cluster, wanted):
            say(f"flux bootstrap, because {reason}")
            place.bootstrap(cluster, wanted)
            changed.append(f"flux bootstrap {wanted.version}")
            repo.fetch()
            items = expected(lab, index, repo)
        desired_flux.verify_host_key(wanted, cluster.secret())
        if not desired_flux.is_pinned(wanted, cluster.secret()):
            lines = "".join(f"{line}\n" for line in wanted.known_hosts)
            cluster.store_secret({**cluster.secret(), "known_hosts": lines})
            changed.append("host key that Flux fetches with")
        again = restarted and not switched_off
        if changed or again or not flux.moved_to(flux.synced(cluster), repo.head()):
            # A person's commit too is applied now, not at the next interval.
            cluster.request()
        repaired = put_back.by_flux(cluster, api, seen)
        if again:
            drift.reapply(cluster)
        flux.wait_for(cluster, repo.head(), respect=True)
        if repaired:  # what is no workload may have gone with them, as a namespace's ConfigMaps
            drift.reapply(cluster)
        changed += repaired
        changed += drift.repair(cluster, api)
        _tell_held(flux.synced(cluster), repo.head())
    return GitopsOutcome(tuple(changed), repo.head())


def _of_git(state: Readiness) -> tuple[Lack, ...]:
    return tuple(lack for lack in state.of("scaled") if lack.item.owner)


def _tell_held(syncs: Sequence[flux.Sync], commit: str) -> None:
    """Say what stays at another commit because somebody suspended it."""
    for item in flux.held(syncs):
        if not item.at(commit):
            say(
                f"  {item.name} stays at {item.revision or 'nothing'}, because Flux is suspended (invoke gitops.resume)"
            )


def _summary(paths: list[str]) -> list[str]:
    if len(paths) > _LISTED:
        return [f"repository: {len(paths)} files"]
    return [f"repository: {path}" for path in paths]


def plan(lab: Lab, index: Index, switched_off: Mapping[Key, str] | None = None) -> str:
    """Return what ``bootstrap`` would change, as text with a diff; empty: nothing. Changes nothing."""
    place = GitOpsDeployment(lab, index)
    if not place.answers():
        return f"the lab's repository would be made, with {len(place.files)} files; flux bootstrap would run\n"
    repo = place.repository
    repo.fetch()
    changes = repo.plan(place.files, generated=tree.generated_folder(lab))
    text = repo.difference(place.files, changes)
    if conflicts := [change.path for change in changes if change.kind == "conflict"]:
        text += f"lab.up would refuse, because somebody else changed: {', '.join(conflicts)}\n"
    if not lab.kubeconfig.exists():
        return text + "flux bootstrap would run, because the cluster is not known yet\n"
    with client.connect(lab) as api:
        cluster = flux.FluxObjects(api)
        if reason := _why_bootstrap(lab, repo, cluster, place.wanted()):
            text += f"flux bootstrap would run, because {reason}\n"
        lacks = look(api, expected(lab, index, repo), switched_off).of("scaled", "missing", "placed", "deleting")
        text += "".join(f"would be put back: {lack}\n" for lack in lacks if lack.item.owner)
        known = {str(lack.item) for lack in lacks}
        for name, gone in drift.missing(cluster, drift.present(api)).items():
            if more := [workload for workload in gone if workload not in known]:
                text += f"Flux would repair {', '.join(more)} ({name})\n"
    return text


def _why_bootstrap(lab: Lab, repo: Repository, cluster: flux.FluxObjects, wanted: desired_flux.DesiredFlux) -> str:
    folder = f"{tree.cluster_path(lab)}/flux-system"
    head = repo.head()
    components = repo.text(head, f"{folder}/{tree.GOTK_COMPONENTS}")
    sync = repo.text(head, f"{folder}/{tree.GOTK_SYNC}")
    return desired_flux.outdated_files(wanted, components, sync) or cluster.outdated(wanted)
