"""Shapes of the REST API; the rules stand in `linking`, `theme` and the control plane."""

from __future__ import annotations

from datetime import datetime
from typing import Any

from rest_framework import serializers

from modoboa_ext import theme
from modoboa_ext.models import VirtualHost

LOGO_TYPES = ("login", "menu", "creation_form")
LARGEST_LOGO = 1_000_000


class DomainSerializer(serializers.Serializer):
    """A linked domain."""

    pk = serializers.IntegerField()
    name = serializers.CharField()


class VirtualHostSerializer(serializers.ModelSerializer):
    """A virtual host as the list shows it: what is here, and the control plane's last answer."""

    domains = serializers.SerializerMethodField()
    has_certificate = serializers.SerializerMethodField()
    certificate_valid_until = serializers.SerializerMethodField()
    certificate_valid_from = serializers.SerializerMethodField()
    certificate_issuer = serializers.SerializerMethodField()
    certificate_source = serializers.SerializerMethodField()
    provisioning_status = serializers.SerializerMethodField()
    last_provisioning_error = serializers.SerializerMethodField()
    provisioning_hint = serializers.SerializerMethodField()
    step = serializers.SerializerMethodField()
    error = serializers.SerializerMethodField()

    class Meta:
        model = VirtualHost
        fields = (
            "pk",
            "name",
            "creation",
            "enabled",
            "domains",
            "has_certificate",
            "certificate_valid_until",
            "certificate_valid_from",
            "certificate_issuer",
            "certificate_source",
            "provisioning_status",
            "last_provisioning_error",
            "provisioning_hint",
            "step",
            "error",
        )

    def get_domains(self, host: VirtualHost) -> list[dict[str, Any]]:
        """Linked domains by name."""
        linked = sorted((link.domain.name, link.domain_id) for link in host.links.all())
        return [{"pk": pk, "name": name} for name, pk in linked]

    def get_has_certificate(self, host: VirtualHost) -> bool:
        """Whether a certificate of its own is there."""
        return bool(host.certificate)

    def get_certificate_valid_until(self, host: VirtualHost) -> str | None:
        """The certificate's end, ISO 8601."""
        return host.certificate.get("not_after")

    def get_certificate_valid_from(self, host: VirtualHost) -> str | None:
        """The certificate's beginning, ISO 8601."""
        return host.certificate.get("not_before")

    def get_certificate_issuer(self, host: VirtualHost) -> str | None:
        """Who signed it."""
        return host.certificate.get("issuer")

    def get_certificate_source(self, host: VirtualHost) -> str | None:
        """`acme` or `uploaded`."""
        return host.certificate.get("source")

    def get_provisioning_status(self, host: VirtualHost) -> str:
        """`pending`, `ready` or `failed`."""
        return host.status

    def get_last_provisioning_error(self, host: VirtualHost) -> str | None:
        """What went wrong, in the words of whoever said so."""
        return host.problem.get("detail") or host.problem.get("reason")

    def get_provisioning_hint(self, host: VirtualHost) -> str | None:
        """What to do about it."""
        return host.problem.get("hint")

    def get_step(self, host: VirtualHost) -> str | None:
        """Where the provisioning stands."""
        return host.mirror.get("step")

    def get_error(self, host: VirtualHost) -> dict[str, Any] | None:
        """The whole error: step, reason, actor, detail, hint, next_attempt_at."""
        return host.problem or None


class CurrentHostSerializer(VirtualHostSerializer):
    """One virtual host, and since when and why that is out of date where it is (`mirror.staleness`)."""

    stale_since = serializers.SerializerMethodField()
    stale_because = serializers.SerializerMethodField()

    class Meta(VirtualHostSerializer.Meta):
        fields = (*VirtualHostSerializer.Meta.fields, "stale_since", "stale_because")

    def get_stale_since(self, host: VirtualHost) -> datetime | None:
        """Null, or the time of what is shown."""
        return self.context["stale_since"]

    def get_stale_because(self, host: VirtualHost) -> str | None:
        """Null, or why the control plane could not be asked."""
        return self.context["stale_because"]


class VirtualHostDetailSerializer(CurrentHostSerializer):
    """The same with everything the control plane says."""

    certificate = serializers.SerializerMethodField()
    served_by = serializers.SerializerMethodField()
    theme = serializers.SerializerMethodField()
    revision = serializers.SerializerMethodField()
    updated_at = serializers.SerializerMethodField()
    confirmed = serializers.BooleanField()
    mirrored_at = serializers.DateTimeField()

    class Meta(CurrentHostSerializer.Meta):
        fields = (
            *CurrentHostSerializer.Meta.fields,
            "certificate",
            "served_by",
            "theme",
            "revision",
            "updated_at",
            "confirmed",
            "mirrored_at",
        )

    def get_certificate(self, host: VirtualHost) -> dict[str, Any] | None:
        """Source, issuer, serial, fingerprint, names, dates and, leaf first, the chain."""
        return host.certificate or None

    def get_served_by(self, host: VirtualHost) -> list[dict[str, Any]]:
        """Each live edge and the revision it has applied."""
        return host.mirror.get("served_by") or []

    def get_theme(self, host: VirtualHost) -> dict[str, str | None]:
        """Colours and logos under Modoboa's names."""
        return theme.from_control_plane(host.mirror.get("theme") or {})

    def get_revision(self, host: VirtualHost) -> int | None:
        """The last published revision."""
        return host.mirror.get("revision")

    def get_updated_at(self, host: VirtualHost) -> str | None:
        """When the control plane last changed it."""
        return host.mirror.get("updated_at")


class StateSerializer(serializers.Serializer):
    """The body of set_state."""

    enabled = serializers.BooleanField()


class ColourField(serializers.RegexField):
    """`#rrggbb`, or null or blank for the installation's own colour."""

    def __init__(self, **kwargs: Any) -> None:
        message = {"invalid": "A colour is written as #rrggbb."}
        super().__init__(
            r"\A#[0-9a-fA-F]{6}\Z",
            required=False,
            allow_null=True,
            allow_blank=True,
            error_messages=message,
            **kwargs,
        )


class ThemeSerializer(serializers.Serializer):
    """The five colours; what is left out stays as it is."""

    theme_primary_color = ColourField()
    theme_primary_color_light = ColourField()
    theme_primary_color_dark = ColourField()
    theme_secondary_color = ColourField()
    theme_label_color = ColourField()


class ThemeAnswerSerializer(ThemeSerializer):
    """The colours, where the logos are, and what a blank one falls back to."""

    theme_login_logo_url = serializers.CharField(allow_null=True)
    theme_menu_logo_url = serializers.CharField(allow_null=True)
    theme_creation_form_logo_url = serializers.CharField(allow_null=True)
    inherited = serializers.DictField()


class LogoTypeSerializer(serializers.Serializer):
    """Which logo."""

    logo_type = serializers.ChoiceField(choices=LOGO_TYPES)


class LogoSerializer(LogoTypeSerializer):
    """An uploaded logo; the control plane judges the picture by its content."""

    image = serializers.FileField()

    def validate_image(self, image: Any) -> Any:
        """Refuse what is too large before it is sent anywhere."""
        if image.size > LARGEST_LOGO:
            raise serializers.ValidationError("A logo has at most 1 MB.")
        return image


class CertificateSerializer(serializers.Serializer):
    """A certificate of the tenant's own, PEM."""

    chain = serializers.CharField(max_length=200_000, trim_whitespace=False)
    private_key = serializers.CharField(max_length=50_000, trim_whitespace=False, write_only=True)


class ParametersSerializer(serializers.Serializer):
    """What an administrator changes at run time; it is kept by the control plane."""

    acme_enabled = serializers.BooleanField(required=False)
    edge_enabled = serializers.BooleanField(required=False)
    acme_directory_url = serializers.CharField(required=False, max_length=500)
    acme_email = serializers.EmailField(required=False, allow_null=True, allow_blank=True)
    acme_profile = serializers.CharField(
        required=False, allow_null=True, allow_blank=True, max_length=64
    )
    renewal_threshold_days = serializers.IntegerField(
        required=False, allow_null=True, min_value=1, max_value=365
    )
    preflight_enabled = serializers.BooleanField(required=False)
    hsts_max_age = serializers.IntegerField(
        required=False, allow_null=True, min_value=0, max_value=2**31 - 1
    )


class DirectorySerializer(serializers.Serializer):
    """The ACME directory to try."""

    acme_directory_url = serializers.URLField(max_length=500)
