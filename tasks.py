"""The command line: what ``invoke`` finds here. The tasks are in ``hardwatt/commands``, one file a collection.

invoke --list
invoke lab.up --help
"""

from invoke import Collection

from hardwatt.commands import bundles, collection, energy, experiment, gitops, lab, meter, mirror

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
