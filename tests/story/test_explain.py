"""`edgectl explain` asks the edge itself: what it has of a hostname, by its status listener."""

from __future__ import annotations

import json

from deploy.onboarding import is_served
from deploy.process import wait_until


def found(stack, hostname: str) -> str:
    """What explain found at the edge's status listener."""
    told = json.loads(stack.edgectl("explain", hostname, "--json"))
    where = f"127.0.0.1:{stack.ports.edge_status}"
    return {line["where"]: line["what"] for line in told["findings"]}[where]


def test_explain_says_what_the_edge_holds(edge_stack):
    name = "mail.explained.test"
    edge_stack.api("PUT", f"/virtualhosts/{name}", json={"domains": []})
    wait_until(lambda: is_served(edge_stack, name), 60, "not served")
    host = edge_stack.api("GET", f"/virtualhosts/{name}?wait=30").json()
    words = found(edge_stack, name)
    assert words.startswith(f"has it active, revision {host['revision']}, ")
    assert f"certificate {host['certificate']['sha256'][:12]}, until 20" in words
    assert "in shared memory" in words

    edge_stack.api("PATCH", f"/virtualhosts/{name}", json={"enabled": False})
    wait_until(lambda: found(edge_stack, name).startswith("has it disabled"), 10, "not disabled")
    assert found(edge_stack, "nobody.test") == "does not know it"
