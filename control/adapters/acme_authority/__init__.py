"""One ACME CA (RFC 8555) on the `acme` library, with what the library lacks written beside it."""

from control.adapters.acme_authority.authority import AcmeAuthority

__all__ = ["AcmeAuthority"]
