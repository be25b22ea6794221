"""A deploy of single operations, named in the environment: what the tests of the stand-in run alone."""

import json
import os

from pyinfra import host

from deploys.operations import rpm

for asked in host.loop(json.loads(os.environ["EL8_OPERATIONS"])):  # type: ignore[no-untyped-call] # gives each its place
    getattr(rpm, asked.pop("operation"))(name="single", **asked)
