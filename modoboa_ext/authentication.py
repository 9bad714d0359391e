"""The rule for API tokens (`Authorization: Token …`)."""

from __future__ import annotations

from typing import Any

from rest_framework.authentication import TokenAuthentication
from rest_framework.exceptions import AuthenticationFailed

from modoboa_ext.isolation import REFUSAL
from modoboa_ext.oauth import may_use


class TenantTokenAuthentication(TokenAuthentication):
    """DRF's tokens, good only where their owner may enter."""

    def authenticate_credentials(self, key: str) -> tuple[Any, Any]:
        """The user and token; AuthenticationFailed (401) at someone else's host."""
        user, token = super().authenticate_credentials(key)
        if not may_use(user):
            raise AuthenticationFailed(REFUSAL)
        return user, token
