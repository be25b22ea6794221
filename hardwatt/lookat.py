"""Looking at a lab without changing it: check, plan and status."""

import json

from rich.table import Table

from hardwatt import engine, forward, gitops, kube, machines, mirror, provision
from hardwatt.errors import LabError
from hardwatt.lab import Lab
from hardwatt.progress import console, say


def check(lab: Lab, *, as_json: bool = False) -> int:
    """Print every problem of host and node with its remedy; return 1 where lab.up would stop."""
    problems = [*machines.check(lab), *(provision.check(lab) if machines.machine_for(lab).status().running else [])]
    if as_json:
        print(json.dumps([problem.to_dict() for problem in problems], indent=2))
    elif problems:
        table = Table("severity", "what", "remedy")
        for problem in problems:
            table.add_row(problem.severity, problem.what, problem.remedy)
        console.print(table)
    else:
        say("no problems")
    return int(any(problem.severity == "error" for problem in problems))


def plan(lab: Lab) -> None:
    """Print what ``lab.up`` would change."""
    if mirror.missing(lab):
        say("mirror: " + ", ".join(mirror.missing(lab)) + " would be downloaded or built")
    machine = machines.machine_for(lab).status()
    if not machine.running:
        say("machine: would be started; what would change on the node is known when it runs")
        return
    planned = provision.plan(lab)
    for line in planned.lines:
        say(f"node: {line}")
    difference = gitops.plan(lab, mirror.load(lab))
    say(f"gitops:\n{difference}" if difference else "gitops: nothing")
    if not planned.lines and not difference:
        say("No changes")


def status(lab: Lab) -> int:
    """Print the state of every part of the lab; return 0 where all that should run does."""
    machine = machines.machine_for(lab).status()
    say(f"lab {lab.name}: {machine.summary}")
    if not machine.running:
        say("next: invoke lab.up")
        return 1
    try:
        cluster = kube.status(lab)
    except LabError as error:
        say(f"cluster: {error}")
        return 1
    say(f"cluster: {cluster.summary}")
    table = Table("namespace", "pod", "phase", "ready", "restarts")
    for pod in cluster.pods:
        table.add_row(pod.namespace, pod.name, pod.phase, str(pod.ready), str(pod.restarts))
    console.print(table)
    say(f"gitops: {gitops.status(lab)}")
    say(f"forward: {forward.status(lab)}")
    say(f"experiment: {engine.status(lab)}")
    return 0 if cluster.ready else 1
