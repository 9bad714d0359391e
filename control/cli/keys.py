"""edgectl keyring and account: the keys that seal keys, and the one that the CA knows us by."""

from __future__ import annotations

import secrets

import click

from control import accounts, rotation, sealing
from control.cli.connection import WHO, as_json, now, plainly, plane, read_settings, show


@click.group()
def account() -> None:
    """Our account at the CA."""


@account.command("new-key")
@click.option("--directory", "directory_url", help="The CA's directory; the one in use by default.")
@as_json
@plainly
def account_new_key(directory_url: str | None, as_json: bool) -> None:
    """Give the account a new key (RFC 8555 §7.3.5); after a failure, run it again."""
    connected = plane()
    url = directory_url or connected.runtime().acme_directory_url
    uri = accounts.roll_over(connected, url, WHO)
    show({"account": uri, "directory": url}, as_json, f"{uri} has a new key")


@click.group()
def keyring() -> None:
    """The keys that seal private keys."""


@keyring.command("add")
@click.option("--kid", help="Its id; the date by default.")
@click.option("--group", help="Group that may read the file (nginx's).")
@as_json
@plainly
def keyring_add(kid: str | None, group: str | None, as_json: bool) -> None:
    """Append a key; the first of the file is made here too. `rotate` makes it the sealing one."""
    import shutil

    path = read_settings().edge_keyring
    keys = sealing.read(path) if path.exists() else {}
    kid = kid or _new_kid(keys)
    if kid in keys:
        raise click.ClickException(f"the keyring has a key {kid}: choose another --kid")
    path.parent.mkdir(parents=True, exist_ok=True)
    sealing.write(path, {**keys, kid: secrets.token_bytes(32)})
    if group:
        try:
            shutil.chown(path, group=group)
        except (LookupError, PermissionError) as problem:
            raise click.ClickException(
                f"cannot give {path} to group {group}: {problem}"
            ) from problem
        path.chmod(0o640)
    value = {"keyring": str(path), "kid": kid, "kids": [*keys, kid]}
    show(value, as_json, f"{path}: key {kid} added ({len(keys) + 1} in all)")


def _new_kid(keys: dict[str, bytes]) -> str:
    day = f"k{now():%Y%m%d}"
    return next(
        kid for kid in (day, *(f"{day}-{number}" for number in range(2, 1000))) if kid not in keys
    )


@keyring.command("rotate")
@click.option("--timeout", default=60.0, show_default=True, help="Seconds to wait for edges.")
@click.option("--drop-old", is_flag=True, help="Then take the former keys out of the file.")
@as_json
@plainly
def keyring_rotate(timeout: float, drop_old: bool, as_json: bool) -> None:
    """Seal with the newest key, and everything again with it; nothing pauses. After a failure, run it again."""
    connected = plane()
    path = connected.settings.edge_keyring
    kid, sealed = rotation.rotate(
        connected, path, timeout, lambda words: click.echo(words, err=True)
    )
    words, dropped = f"{kid} seals; {sealed} keys sealed again", list[str]()
    if drop_old:
        dropped = rotation.drop_old(connected, path, timeout)
        words += f"\ntaken out: {', '.join(dropped) or 'none'}"
    show({"kid": kid, "sealed": sealed, "dropped": dropped}, as_json, words)
