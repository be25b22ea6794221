"""The identity of the machine under a node: stable over fresh clusters, and anonymous.

It is a keyed hash of the machine's id, as machine-id(5) asks for where the id itself must not be shown. All labs use
one text to hash: two labs on one machine are one machine, also for whoever pools their bundles.
"""

import hashlib
import hmac

from hardwatt.connect.endpoint import Endpoint
from hardwatt.experiment.host import probe
from hardwatt.experiment.host.probe import ProbeAnswers

_PURPOSE = b"hardwatt: the machine under a node"
_DIGITS = 16


def of_endpoint(endpoint: Endpoint, facts: ProbeAnswers) -> str:
    """Return the identity of the machine under a node; empty where nothing tells it from others.

    ``facts`` are those of a look at the node. A virtual machine of the lab is made anew with its cluster: the machine
    under it is this one.
    """
    return of_facts(probe.local(probe.IDENTITY) if endpoint.kind == "vm" else facts)


def of_facts(facts: ProbeAnswers) -> str:
    """Return the identity by the machine's id, or by its board's where the system has none; empty: neither."""
    known = (facts.get(name, "").strip() for name in probe.IDENTITY)
    key = next((text for text in known if text and text != "uninitialized"), "")
    return hmac.new(key.encode(), _PURPOSE, hashlib.sha256).hexdigest()[:_DIGITS] if key else ""
