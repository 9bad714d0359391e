"""The routes below /api/v2/. They ask the control plane, so they hold no database transaction meanwhile."""

from __future__ import annotations

from django.db import transaction
from django.urls import path
from rest_framework.routers import SimpleRouter

from modoboa_ext import views

router = SimpleRouter()
router.register("virtualhosts", views.VirtualHostViewSet, basename="virtualhost")

urlpatterns = [
    path("virtualhosts/activate/", views.ActivationView.as_view(), name="virtualhosts-activate"),
    path(
        "parameters/virtualhosts/", views.ParametersView.as_view(), name="virtualhosts-parameters"
    ),
    path(
        "parameters/virtualhosts/test_authority/",
        views.AuthorityView.as_view(),
        name="virtualhosts-authority",
    ),
    *router.urls,
]
for pattern in urlpatterns:
    pattern.callback = transaction.non_atomic_requests(pattern.callback)
