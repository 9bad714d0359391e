"""Scheduled work; activated by one line in cron_config.py: `import modoboa_ext.cron  # noqa`."""

from __future__ import annotations

from rq.cron import register

from modoboa_ext import jobs

register(jobs.every_minute, queue_name="modoboa", cron="* * * * *")
