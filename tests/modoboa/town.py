"""The people and hosts of the suite: Acme and Globex, each with its hostname, and every role among Globex's people."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

from django.core.management import call_command
from django.test import Client
from modoboa.admin.models import Domain, Mailbox
from modoboa.core.models import LocalConfig, User

from modoboa_ext.models import Link, VirtualHost

PRIMARY = "mail.provider.test"
ACME = "mail.acme.test"
GLOBEX = "mail.globex.test"
UNKNOWN = "mail.nowhere.test"
LINKS = {"acme.test": ACME, "globex.test": GLOBEX}
PASSWORD = "Passw0rd!demo"
ROLES = ("SimpleUsers", "DomainAdmins", "Resellers", "SuperAdmins")


def initial_data() -> None:
    """Modoboa's own initial data, and its frontend's OAuth application, as `deploy` makes them."""
    call_command("load_initial_data", "--no-frontend", verbosity=0)
    config = LocalConfig.objects.first()
    config.parameters.set_value("enabled_pdfcredentials", False, app="pdfcredentials")
    config.parameters.set_value("password_scheme", "plain", app="core")
    config.parameters.set_value("update_scheme", False, app="core")
    config.save()
    call_command(
        "createapplication",
        "public",
        "authorization-code",
        "--algorithm=RS256",
        f"--redirect-uris=https://{PRIMARY}/login/logged",
        f"--post-logout-redirect-uris=https://{PRIMARY}",
        "--name=modoboa_frontend",
        "--client-id=frontend",
        "--skip-authorization",
        verbosity=0,
    )


@dataclass
class Town:
    """What `build` made: domains and virtual hosts by name, Globex's people by role."""

    domains: dict[str, Domain] = field(default_factory=dict)
    hosts: dict[str, VirtualHost] = field(default_factory=dict)
    people: dict[str, User] = field(default_factory=dict)

    @classmethod
    def build(cls) -> Town:
        """Domains acme.test and globex.test, linked; one person of each role at Globex."""
        town = cls()
        admin = User.objects.get(username="admin")
        for domain, host in LINKS.items():
            made = Domain(name=domain, quota=0, enable_dns_checks=False)
            made.save(creator=admin)
            town.domains[domain] = made
            town.hosts[host] = VirtualHost.objects.create(name=host)
            Link.objects.create(domain=made, virtual_host=town.hosts[host])
        for role in ROLES:
            town.people[role] = town.settle(role)
        return town

    @classmethod
    def load(cls) -> Town:
        """What `build` made, read anew: each test has objects of its own."""
        names = {role: role.lower() for role in ROLES} | {"SimpleUsers": "simpleusers@globex.test"}
        return cls(
            {domain.name: domain for domain in Domain.objects.filter(name__in=LINKS)},
            {host.name: host for host in VirtualHost.objects.filter(name__in=LINKS.values())},
            {role: User.objects.get(username=name) for role, name in names.items()},
        )

    def settle(self, role: str) -> User:
        """Make Globex's person of `role`: a mailbox for simple users, administration for the others."""
        globex = self.domains["globex.test"]
        name = f"{role.lower()}@globex.test" if role == "SimpleUsers" else role.lower()
        user = User(
            username=name,
            email=f"{role.lower()}@globex.test",
            secondary_email=f"{role.lower()}@elsewhere.example",
            is_superuser=role == "SuperAdmins",
        )
        user.set_password(PASSWORD)
        user.save()
        user.role = role
        user.save()
        if role == "SimpleUsers":
            mailbox = Mailbox(address="simpleusers", domain=globex, user=user, quota=0)
            mailbox.use_domain_quota = True
            mailbox.save(creator=User.objects.get(username="admin"))
        user.userobjectlimit_set.update(max_value=100)
        if role in ("DomainAdmins", "Resellers"):
            globex.add_admin(user)
        return user


def browser(host: str = PRIMARY, **headers: str) -> Client:
    """A client that speaks HTTPS to `host`, spelled as given."""
    return Client(headers={"host": host, **headers}, SERVER_NAME="127.0.0.1")


def sign_in(client: Client, user: Any, password: str = PASSWORD) -> Any:
    """Post the login form."""
    form = {"username": user.username, "password": password}
    return client.post("/accounts/login/", form, secure=True)
