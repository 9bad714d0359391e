"""Alembic: the schema's history; `edgectl migrate` runs it."""
