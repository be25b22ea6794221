"""The command line: names, help and exit codes. The work is done in ``hardwatt``.

invoke --list
invoke lab.up --help
"""

import functools
import json
import logging
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

from invoke import Collection, Context, Exit, task

from hardwatt.cli import SHIPPED
from hardwatt.errors import LabError
from hardwatt.lab import Lab, open_lab
from hardwatt.progress import say


def command(**options: Any) -> Callable[[Callable[..., None]], Any]:
    """Make an Invoke task of a function of the lab; its errors become a message and exit code 1."""

    def wrap(function: Callable[..., None]) -> Any:
        @functools.wraps(function)
        def run(c: Context, *args: Any, **kwargs: Any) -> None:
            if os.environ.get("HARDWATT_DEBUG"):
                logging.basicConfig(level=logging.DEBUG)
            try:
                function(open_lab(), *args, **kwargs)
            except LabError as error:
                raise Exit(f"error: {error}", code=1) from error
            except KeyboardInterrupt:
                raise Exit("interrupted; the same command goes on from here", code=130) from None

        return task(**options)(run)

    return wrap


# --- lab -------------------------------------------------------------------------------------------


@command(help={"only": "a step to run alone (may be given several times)"}, iterable=["only"])
def lab_up(lab: Lab, only: list[str] | None = None) -> None:
    """Bring the lab up: mirror, machine, node, GitOps. Run again: "No changes"."""
    from hardwatt.up import up

    up(lab, only or [])


@command(help={"yes": "do not ask"})
def lab_down(lab: Lab, yes: bool = False) -> None:
    """Take the lab down; caches and results stay."""
    from hardwatt.up import down

    if not yes and input(f"Destroy the lab {lab.name} and all data in its cluster? [y/N] ").lower() != "y":
        raise Exit("nothing was done", code=1)
    down(lab)


@command()
def lab_first(lab: Lab) -> None:
    """Lab up, the first experiment, its report: what `make lab` runs."""
    from hardwatt.first import first

    raise Exit(code=first(lab, SHIPPED))


@command(help={"as_json": "print JSON"})
def lab_show(lab: Lab, as_json: bool = False) -> None:
    """Print the resolved settings."""
    settings = lab.settings.model_dump()
    print(json.dumps(settings, indent=2) if as_json else _toml(settings))


@command(help={"as_json": "print JSON"})
def lab_check(lab: Lab, as_json: bool = False) -> None:
    """Check host and node, change nothing; the exit code says whether lab.up would go on."""
    from hardwatt.lookat import check

    raise Exit(code=check(lab, as_json=as_json))


@command()
def lab_plan(lab: Lab) -> None:
    """Print what lab.up would change; changes nothing."""
    from hardwatt.lookat import plan

    plan(lab)


@command(
    help={
        "host": "the address of [host] in lab.toml",
        "fingerprint": "the host key's, as read on the host itself (SHA256:...); asked for when not given",
    }
)
def lab_trust(lab: Lab, host: str, fingerprint: str = "") -> None:
    """Learn the host key of the host in lab.toml, if its fingerprint is the right one."""
    from hardwatt.machines import ssh_host

    if host != lab.settings.host.address:
        raise LabError(
            f"lab.toml names the host {lab.settings.host.address!r}, not {host!r}", hint="[host] in lab.toml"
        )
    if not fingerprint:
        print(f"{lab.settings.host.address} offers a host key; compare it with the one on the host's own console:")
        print("  ssh-keygen -lf /etc/ssh/ssh_host_ed25519_key.pub")
        fingerprint = input("its fingerprint there (SHA256:...): ")
    print(f"known now: {ssh_host.trust(lab, fingerprint)}")


@command()
def lab_status(lab: Lab) -> None:
    """Print machine, cluster, GitOps, forwards and a running experiment."""
    from hardwatt.lookat import status

    raise Exit(code=status(lab))


@command()
def lab_kubeconfig(lab: Lab) -> None:
    """Fetch the kubeconfig again and print its path."""
    from hardwatt import kube, machines

    kube.fetch_kubeconfig(lab, machines.machine_for(lab).endpoint())
    print(lab.kubeconfig)


@command(help={"target": "prometheus or grafana", "stop": "stop the lab's forwards", "port": "local port"})
def lab_forward(lab: Lab, target: str, stop: bool = False, port: int = 0) -> None:
    """Forward a service to localhost in the background (prometheus: localhost:9090, grafana: localhost:3000)."""
    from hardwatt import forward

    if stop:
        forward.stop(lab)
    else:
        print(forward.forward(lab, target, port or forward.default_port(lab, target)))
        if target == "grafana":
            say(
                "user admin; its password: kubectl -n monitoring get secret grafana-admin -o go-template="
                "'{{.data.password|base64decode}}'"
            )


@command()
def machine_start(lab: Lab) -> None:
    """Start the machine (finds a running one, restarts a dead one)."""
    from hardwatt import machines

    with lab.lock("lab.machine.start"):
        end = machines.machine_for(lab).start()
    say(f"{end.kind} machine {end.name}: {end.user}@{end.address} port {end.port}")


@command()
def machine_stop(lab: Lab) -> None:
    """Stop the machine; its disk stays."""
    from hardwatt import machines

    with lab.lock("lab.machine.stop"):
        machines.machine_for(lab).stop()


@command(help={"yes": "do not ask"})
def machine_destroy(lab: Lab, yes: bool = False) -> None:
    """Stop the machine and delete its disk."""
    lab_down.body(Context(), yes=yes)


@command()
def machine_shell(lab: Lab) -> None:
    """Open a root shell on the node."""
    from hardwatt import machines

    argv = machines.machine_for(lab).shell_argv()
    os.execvp(argv[0], argv)  # noqa: S606 - no shell: the list goes to exec


# --- mirror ----------------------------------------------------------------------------------------


@command()
def mirror_fill(lab: Lab) -> None:
    """Download and verify, or build, everything that a lab installs."""
    from hardwatt import mirror

    mirror.fill(lab)


@command(help={"as_json": "print JSON"})
def mirror_list(lab: Lab, as_json: bool = False) -> None:
    """List each artefact with version, source and how it was verified."""
    from hardwatt import mirror

    rows = mirror.listing(lab)
    print(json.dumps(rows, indent=2) if as_json else "\n".join("  ".join(str(v) for v in row.values()) for row in rows))


@command(help={"folder": "an empty or new folder"})
def mirror_export(lab: Lab, folder: str) -> None:
    """Write the mirror into a folder that another machine can import; prints the byte count."""
    from hardwatt import mirror

    print(mirror.export(lab, Path(folder)))


@command(
    positional=["path"],
    help={"path": "an exported folder or archive", "name": "HOST/REPOSITORY:TAG, where an image archive does not say"},
)
def mirror_import(lab: Lab, path: str, name: str = "") -> None:
    """Fill the mirror from an export or an image archive, without a network."""
    from hardwatt import mirror

    mirror.import_(lab, Path(path), name=name)


@command()
def mirror_lock(lab: Lab) -> None:
    """Read upstream's published sums and digests into versions.lock.toml; needs upstream's hosts."""
    from hardwatt import mirror

    for line in mirror.resolve_lock(lab):
        print(line)


# --- gitops ----------------------------------------------------------------------------------------


@command(positional=["folder"], help={"folder": "a new folder"})
def gitops_clone(lab: Lab, folder: str) -> None:
    """Clone the lab's repository into a folder that can push; prints the folder."""
    from hardwatt import gitops

    print(gitops.clone(lab, Path(folder)))


@command()
def gitops_suspend(lab: Lab) -> None:
    """Suspend Flux's reconciling."""
    from hardwatt import gitops

    gitops.suspend(lab)


@command()
def gitops_resume(lab: Lab) -> None:
    """Resume Flux's reconciling."""
    from hardwatt import gitops

    gitops.resume(lab)


@command(help={"as_json": "print JSON"})
def gitops_status(lab: Lab, as_json: bool = False) -> None:
    """Print each object of Flux: ready or not, at which commit, what it says; the exit code says whether all are."""
    from hardwatt import gitops
    from hardwatt.energy.query import table

    rows = gitops.status_rows(lab)
    print(json.dumps(rows, indent=2) if as_json else table(rows) if rows else "Flux is not in the cluster")
    raise Exit(code=int(not rows or any(row["state"] != "ready" for row in rows)))


@command()
def gitops_reconcile(lab: Lab) -> None:
    """Have Flux fetch and apply now, and wait until all of it is healthy; prints the commit."""
    from hardwatt import gitops

    with lab.lock("gitops.reconcile"):
        print(gitops.reconcile(lab))


@command()
def gitops_show(lab: Lab) -> None:
    """Print the generated kustomization: what differs between labs, as the lab's repository holds it."""
    from hardwatt import gitops

    print(gitops.show(lab), end="")


@command(positional=["state"], help={"state": "on or off"})
def gitops_app(lab: Lab, state: str) -> None:
    """Switch the talk's mock application on or off, by a commit to the lab's repository that Flux applies."""
    from hardwatt import gitops

    with lab.lock("gitops.app"):
        print(gitops.app(lab, state))


# --- energy ----------------------------------------------------------------------------------------


@command(
    positional=["query"],
    help={
        "query": "pod-package, dram, totals, namespace-sum, node, or any PromQL",
        "last": "joules of the last 90s, 5m, 1h: of a query by name, from raw samples, with bounds",
        "namespace": "namespace of a query by name (all: every one)",
        "as_json": "print JSON",
    },
)
def energy_query(lab: Lab, query: str, last: str = "", namespace: str = "flux-system", as_json: bool = False) -> None:
    """Ask the lab's Prometheus, with the queries of the talk by name."""
    from hardwatt.energy import query as energy

    print(energy.query(lab, query, last=last, namespace=namespace, as_json=as_json))


@command(positional=["quantity", "unit"], help={"quantity": "as in 394mJ", "unit": "as in kWh"})
def energy_convert(lab: Lab, quantity: str, unit: str) -> None:
    """Convert an energy: invoke energy.convert 394mJ kWh."""
    from hardwatt.energy import units

    print(units.convert(quantity, unit))


@command()
def energy_help(lab: Lab) -> None:
    """Joule for beginners, on one screen."""
    from hardwatt.energy import units

    print(units.BEGINNERS)


# --- meter -----------------------------------------------------------------------------------------


@command()
def meter_status(lab: Lab) -> None:
    """Print what the meter on the node says: unit, source, model, counters."""
    from hardwatt.lookat import meter

    print(meter(lab))


@command(help={"here": "look at this machine instead of the node", "as_json": "print JSON"})
def meter_list(lab: Lab, here: bool = False, as_json: bool = False) -> None:
    """Watch every energy counter for two seconds: watts, updates, what it covers, and which of them count."""
    from hardwatt.lookat import zones
    from hardwatt.meter import show

    found = zones(lab, here=here)
    print(show.zones_json(found) if as_json else show.zones_text(found))


@command(positional=["name"], help={"name": "one model with its points and source; without it, all of them"})
def meter_model_show(lab: Lab, name: str = "") -> None:
    """Print the power models, or one of them."""
    from hardwatt.meter import show

    print(show.models_text(name))


@command(help={"file": "a file like hardwatt/meter/models.toml; without it, that one"})
def meter_model_check(lab: Lab, file: str = "") -> None:
    """Check a file of power models: points, sources, processors."""
    from hardwatt.meter import show

    print(show.check_models(file))


# --- experiments -----------------------------------------------------------------------------------


@command(
    help={
        "study": "a study of experiments/studies (see experiment.list)",
        "pairs": "number of pairs, instead of the study's",
        "seed": "seed of order, trace and phases; drawn and recorded when not given",
        "no_report": "end with the bundle",
    }
)
def experiment_run(lab: Lab, study: str, pairs: int = 0, seed: int = 0, no_report: bool = False) -> None:
    """Run a paired experiment and report it; the last line is the report's path."""
    from hardwatt import engine

    bundle = engine.run(lab, study, pairs=pairs or None, seed=seed or None)
    print(bundle if no_report else _report(bundle))


@command()
def experiment_resume(lab: Lab) -> None:
    """Go on with an experiment that was interrupted."""
    from hardwatt import engine

    print(_report(engine.run(lab, "", resume=True)))


@command()
def experiment_abandon(lab: Lab) -> None:
    """Give up an interrupted experiment: put back what it switched off; its bundle stays unfinished."""
    from hardwatt import engine

    for line in engine.abandon(lab):
        say(line)


@command(help={"study": "a study of experiments/studies", "pairs": "number of pairs", "seed": "the seed to plan with"})
def experiment_plan(lab: Lab, study: str, pairs: int = 0, seed: int = 0) -> None:
    """Print the run table that a study and a seed give, and how long it takes; runs nothing."""
    from hardwatt import engine

    planned = engine.plan(lab, study, pairs=pairs or None, seed=seed or None)
    print(f"{study}: {planned.pairs} pairs, seed {planned.seed}, about {planned.estimated_seconds() / 60:.0f} min")
    for row in planned.rows:
        print(f"  {row.run_id}  block {row.block}  position {row.position}  {row.arm}  phase {row.phase_seconds:.1f} s")


@command()
def experiment_list(lab: Lab) -> None:
    """List the studies."""
    from hardwatt import engine

    for study in engine.list_studies():
        print(f"{study.name}  {study.question}")


@command()
def experiment_status(lab: Lab) -> None:
    """Print what the running experiment does."""
    from hardwatt import engine

    print(engine.status(lab))


@command(help={"bundle": "a bundle's folder, or the word shipped: the one that comes with the toolkit"})
def experiment_report(lab: Lab, bundle: str) -> None:
    """Analyse a bundle and write its report; needs no lab, no root, no cluster."""
    print(_report(SHIPPED if bundle == "shipped" else Path(bundle)))


@command(
    iterable=["match"],
    help={
        "match": "a series selector (may be given several times); without it, all that the instruments use",
        "start": "2026-11-24T10:00:00Z, seconds since 1970, or 90m (ago)",
        "end": "the same; now",
        "run": "the window of this run, instead of --start and --end",
        "bundle": "the bundle that has the run",
        "url": "another Prometheus than the lab's",
        "token_file": "file with a bearer token (or HARDWATT_PROMETHEUS_TOKEN)",
        "ca_file": "the authority that signed the server's certificate",
        "source": "rapl or modelled, where the meter does not say",
        "out": "folder of the new bundle",
        "parallel": "questions at once",
        "no_raw": "keep samples only, not the untouched answers",
    },
)
def experiment_dump(
    lab: Lab,
    match: list[str] | None = None,
    start: str = "",
    end: str = "now",
    run: str = "",
    bundle: str = "",
    url: str = "",
    token_file: str = "",
    ca_file: str = "",
    source: str = "",
    out: str = "",
    parallel: int = 3,
    no_raw: bool = False,
) -> None:
    """Dump raw samples from Prometheus into a bundle; the same command goes on after an interruption."""
    from hardwatt.dump import ask

    asked = ask.Asked(match or [], start, end, run, bundle, url, token_file, ca_file, source, out, parallel, not no_raw)
    print(ask.dump(lab, asked))


@command(
    help={
        "bundle": "a bundle's folder",
        "outcome": "node_cpu_seconds or node_joules, instead of the plan's",
        "confidence": "level of the interval, instead of the plan's",
        "margin": "margin of the test of equivalence, instead of the plan's",
        "without_flagged": "leave out pairs with a flagged window",
        "without_repeated": "leave out pairs that were repeated",
    }
)
def experiment_analyse(
    lab: Lab,
    bundle: str,
    outcome: str = "",
    confidence: str = "",
    margin: str = "",
    without_flagged: bool = False,
    without_repeated: bool = False,
) -> None:
    """Analyse a bundle, other than planned where options ask for it; its report then says so first."""
    from hardwatt.cli import main

    options = {"--outcome": outcome, "--confidence": confidence, "--margin": margin}
    argv = ["analyse", bundle, *(f"{name}={value}" for name, value in options.items() if value)]
    flags = {"--without-flagged": without_flagged, "--without-repeated": without_repeated}
    if code := main([*argv, *(name for name, wanted in flags.items() if wanted)]):
        raise Exit(code=code)


@command(
    help={"first": "a bundle's folder", "second": "another one", "also": "a further one (may be given several times)"},
    iterable=["also"],
)
def experiment_compare(lab: Lab, first: str, second: str, also: list[str] | None = None) -> None:
    """Put bundles side by side: machines, versions, repeats; prints the path of the page."""
    from hardwatt.report import comparison

    print(comparison([first, second, *(also or [])], output=Path("results") / "compare"))


@command(positional=["bundle"], help={"bundle": "a bundle's folder", "port": "on localhost; a free one by default"})
def experiment_replay(lab: Lab, bundle: str, port: int = 0) -> None:
    """Load a bundle's samples into a throw-away Prometheus, so that PromQL works on them; Ctrl-C ends it."""
    from hardwatt.dump import replay

    replay.serve(lab, Path(bundle), port)


@command(
    positional=["file"],
    help={
        "file": "Prometheus' range JSON, or CSV with timestamp and joules or watts",
        "source": "rapl (a processor's counter, a plug) or modelled (computed from CPU time)",
        "out": "folder of the new bundle",
        "runs": "CSV with run_id,arm,block,position,start,end; without it, one window over all",
        "unit": "joules, millijoules or watts: the JSON's series are the node's energy",
        "metric": "the one metric of the JSON",
        "interval": "seconds between two samples; their median by default",
        "range_joules": "where the counter wraps",
    },
)
def experiment_import(
    lab: Lab, file: str, source: str, out: str = "", runs: str = "", unit: str = "", metric: str = "",
    interval: float = 0.0, range_joules: float = 0.0,
) -> None:  # fmt: skip
    """Make a bundle of data that was measured elsewhere, and say what the instruments make of it."""
    from hardwatt.dump import ask

    words = ask.Imported(file, source, out, runs, unit, metric, interval, range_joules)
    print(ask.import_(lab, words))


def _report(bundle: Path) -> Path:
    from hardwatt.report import report

    return report(bundle)


def _toml(settings: dict[str, Any]) -> str:
    lines = [f"{key} = {json.dumps(value)}" for key, value in settings.items() if not isinstance(value, dict)]
    for name, section in settings.items():
        if isinstance(section, dict):
            lines += ["", f"[{name}]", *(f"{key} = {json.dumps(value)}" for key, value in section.items())]
    return "\n".join(lines)


def _collection(name: str, prefix: str) -> Collection:
    made = Collection(name)
    for key, value in globals().items():
        if key.startswith(f"{prefix}_") and hasattr(value, "body"):
            made.add_task(value, name=key.removeprefix(f"{prefix}_").replace("_", "-"))
    return made


ns = Collection()
_lab = _collection("lab", "lab")
_lab.add_collection(_collection("machine", "machine"))
for _made in (_lab, *(_collection(name, name) for name in ("mirror", "gitops", "energy", "meter", "experiment"))):
    ns.add_collection(_made)
