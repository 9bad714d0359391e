"""What is wanted here against what the control plane has, host by host."""

from __future__ import annotations

from dataclasses import asdict, dataclass

from modoboa_ext.control_plane import ControlPlane
from modoboa_ext.models import VirtualHost


@dataclass(frozen=True)
class Difference:
    """One thing that differs: of which host, which one, and how it is here and there."""

    hostname: str
    what: str
    here: object
    there: object

    def as_dict(self) -> dict[str, object]:
        """For a script."""
        return asdict(self)

    def __str__(self) -> str:
        return f"{self.hostname}: {self.what} is {self.here} here and {self.there} there"


def compare(control: ControlPlane) -> list[Difference]:
    """Every difference, by hostname. Raises ControlPlaneError."""
    there = {host["hostname"]: host for host in control.all()}
    here = {host.name: host for host in VirtualHost.objects.with_domains()}
    differences = []
    for name in sorted({*here, *there}):
        differences += of_one(name, here.get(name), there.get(name))
    return differences


def of_one(name: str, ours: VirtualHost | None, theirs: dict | None) -> list[Difference]:
    """The differences of one host; a tombstone counts as absent."""
    if ours is not None and ours.deleted_at is not None:
        ours = None
    if ours is None or theirs is None:
        same = ours is None and theirs is None
        presence = Difference(name, "presence", ours is not None, theirs is not None)
        return [] if same else [presence]
    domains = sorted(link.domain.name for link in ours.links.all())
    pairs = {
        "domains": (domains, sorted(theirs["domains"])),
        "enabled": (ours.enabled, theirs["enabled"]),
        "generation": (ours.generation, theirs.get("generation", ours.generation)),
    }
    return [Difference(name, what, a, b) for what, (a, b) in pairs.items() if a != b]
