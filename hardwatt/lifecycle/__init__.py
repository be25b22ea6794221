"""The life of a lab: the steps of lab.up and lab.down, lab.check, lab.status, and the quickstart."""
