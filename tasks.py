"""The command line: what ``invoke`` finds here. The tasks are in ``hardwatt/cli``, one file a collection.

invoke --list
invoke lab.up --help
"""

from invoke import Collection

from hardwatt.cli import bundles, energy, experiment, gitops, lab, meter, mirror
from hardwatt.cli.tasks import collection

ns = Collection()
_lab = collection("lab", lab)
_lab.add_collection(collection("machine", lab))
for _made in (
    _lab,
    collection("mirror", mirror),
    collection("gitops", gitops),
    collection("energy", energy),
    collection("meter", meter),
    collection("experiment", experiment, bundles),
):
    ns.add_collection(_made)
