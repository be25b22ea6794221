"""The protocol: everything that the sessions of one experiment share, and its SHA-256.

A bundle is one session. Its plan names the protocol's hash and the session's number; order, trace and phases are drawn
from both.
"""

import hashlib
import json
from collections.abc import Mapping
from typing import Any

WORDS_AND_COUNTS = frozenset({"title", "question", "notes", "needs", "full", "design"})
"""Keys of a study's definition that decide neither a window nor its analysis; the order of arms counts by itself."""
_SHARED = ("study", "arms", "window_seconds", "primary", "secondaries", "order")


def protocol_of(plan: Mapping[str, Any]) -> dict[str, Any] | None:
    """Return the part of a plan that all sessions share; None if the plan has no definition or no code."""
    definition, code = plan.get("definition"), plan.get("code")
    if not isinstance(definition, Mapping) or not isinstance(code, Mapping):
        return None
    kept = {key: value for key, value in definition.items() if key not in WORDS_AND_COUNTS}
    return {**{key: plan.get(key) for key in _SHARED}, "definition": kept, "code": dict(code)}


def protocol_sha256(plan: Mapping[str, Any]) -> str:
    """Return the hexadecimal SHA-256 of a plan's protocol; empty if the plan does not hold one."""
    shared = protocol_of(plan)
    if shared is None:
        return ""
    text = json.dumps(shared, sort_keys=True, ensure_ascii=False, allow_nan=False)
    return hashlib.sha256(text.encode()).hexdigest()


def session_seed(protocol: str, session: int) -> int:
    """Return the seed (below 2**31) of a session: order, trace and phases follow from it."""
    digest = hashlib.sha256(f"{protocol}/session/{session}".encode()).digest()
    return int.from_bytes(digest[:4]) % 2**31
