"""What the queue and the commands do: push, note, log, renew, compare."""

from __future__ import annotations

import io
from collections.abc import Callable
from datetime import timedelta

import django_rq
import pytest
from django.core.management import CommandError, call_command
from django.db import connection
from django.db.models import F
from django.test.utils import CaptureQueriesContext
from django.utils import timezone
from modoboa.admin.models import Domain
from rq.cron import CronScheduler

from modoboa_ext import jobs, linking, mirror, sync
from modoboa_ext.control_plane import ControlPlane, Unauthorised, connect
from modoboa_ext.models import Link, VirtualHost
from modoboa_ext.settings import option
from tests.modoboa.town import ACME, GLOBEX, Town

pytestmark = pytest.mark.django_db
GLOBEX_PUT = ("PUT", f"/virtualhosts/{GLOBEX}")
DUE = {"renew_at": "2020-01-01T00:00:00+00:00", "not_after": "2020-02-01T00:00:00+00:00"}


@pytest.fixture
def told(town: Town, control_plane):
    """A control plane that knows every host."""
    control_plane.answers["GET", "/events"] = 200, {"items": [], "next": None}
    sync.push_all()
    return control_plane


def test_a_saved_domain_is_pushed_by_the_queue_after_the_commit(
    town, control_plane, django_capture_on_commit_callbacks
):
    from modoboa.core.models import User

    admin = User.objects.get(username="admin")
    domain = Domain.objects.create(name="initech.test", enable_dns_checks=False)
    with django_capture_on_commit_callbacks(execute=True) as callbacks:
        linking.set_hostname(domain, "mail.initech.test", admin)
        assert control_plane.asked == []
    assert callbacks
    queued = django_rq.get_queue("modoboa").jobs
    host = VirtualHost.objects.get(name="mail.initech.test")
    assert ("modoboa_ext.jobs.push", (host.pk,)) in [(job.func_name, job.args) for job in queued]
    jobs.push(host.pk)
    assert control_plane.hosts["mail.initech.test"]["domains"] == ["initech.test"]


def test_a_renamed_or_deleted_domain_is_told(told, town):
    town.domains["acme.test"].name = "acme-new.test"
    town.domains["acme.test"].save()
    town.domains["globex.test"].delete(town.people["SuperAdmins"])
    sync.push_all()
    assert told.hosts[ACME]["domains"] == ["acme-new.test"]
    assert told.hosts[GLOBEX]["domains"] == []
    assert VirtualHost.objects.get(name=GLOBEX).deleted_at is None


def test_a_name_that_is_deleted_and_made_again_is_newer_than_before(told, town):
    host = VirtualHost.objects.get(name=GLOBEX)
    host.bury(host.creation)
    sync.push_all()
    assert not VirtualHost.objects.filter(name=GLOBEX).exists()
    again, new = linking.host_called(GLOBEX)
    assert new
    assert again.generation >= told.generations[GLOBEX]
    assert sync.push_all() == 0


def test_a_name_made_again_before_its_removal_was_told_has_nothing_of_its_former_life(told, town):
    told.hosts[ACME]["theme"] = {"primary": "#102030"}
    town.hosts[ACME].bury(town.hosts[ACME].creation)
    linking.set_hostname(town.domains["globex.test"], ACME, town.people["SuperAdmins"])
    told.down = True
    assert sync.push_all() == 2
    told.down = False
    told.asked.clear()
    assert sync.push_all() == 0
    methods = [method for method, path, _ in told.asked if path.endswith(ACME)]
    assert methods[0] == "DELETE"
    assert told.hosts[ACME]["domains"] == ["globex.test"]
    assert "theme" not in told.hosts[ACME]
    VirtualHost.objects.get(name=ACME).change()
    told.asked.clear()
    sync.push_all()
    assert [method for method, _, _ in told.asked] == ["PUT"]


def made_again(town: Town) -> VirtualHost:
    """Acme's host, deleted and made again before anything was told."""
    town.hosts[ACME].bury(town.hosts[ACME].creation)
    linking.set_hostname(town.domains["acme.test"], ACME, town.people["SuperAdmins"])
    return VirtualHost.objects.get(name=ACME)


class Late(ControlPlane):
    """The control plane as a worker sees it whose first removal arrives when `meanwhile` is done."""

    def __init__(self, meanwhile: Callable[[], object]) -> None:
        super().__init__(option("CONTROL_URL"), None)
        self.meanwhile = [meanwhile]

    def delete(self, name: str, generation: int) -> None:
        while self.meanwhile:
            self.meanwhile.pop()()
        super().delete(name, generation)


def test_of_two_workers_that_tell_of_a_name_made_again_the_later_takes_nothing_away(
    told, town, jobs_log
):
    """The administrator has given it a theme already."""
    again = made_again(town)

    def faster() -> None:
        sync.push_one(again.pk)
        told.hosts[ACME]["theme"] = {"primary": "#102030"}

    assert sync.attempt(again, Late(faster))
    assert told.hosts[ACME]["theme"] == {"primary": "#102030"}
    assert VirtualHost.objects.get(name=ACME).confirmed
    assert not [record for record in jobs_log.records if record.levelname == "ERROR"]


def test_a_name_made_a_third_time_while_its_removal_is_told_is_removed_once_more(told, town):
    again = made_again(town)
    sync.attempt(again, Late(lambda: made_again(Town.load())))
    told.hosts[ACME]["theme"] = {"primary": "#102030"}
    assert sync.push_all() == 0
    assert "theme" not in told.hosts[ACME]


def test_a_name_made_again_is_not_put_while_its_former_life_stays(told, town):
    made_again(town)
    told.hosts[ACME]["theme"] = {"primary": "#102030"}
    told.answers["DELETE", f"/virtualhosts/{ACME}"] = 409, {"message": "not now"}
    assert sync.push_all() == 1
    assert "PUT" not in [method for method, path, _ in told.asked if path.endswith(ACME)][1:]
    assert VirtualHost.objects.get(name=ACME).refusal == "not now"
    told.answers.clear()
    assert sync.push_all() == 0
    assert "theme" not in told.hosts[ACME]


def test_a_disabled_name_that_is_deleted_and_made_again_is_open_and_new(told, town):
    VirtualHost.objects.filter(name=ACME).update(creation=timezone.now() - timedelta(days=900))
    VirtualHost.objects.get(name=ACME).change(enabled=False)
    again = made_again(Town.load())
    assert again.live
    assert timezone.now() - again.creation < timedelta(days=1)
    assert again.mirror == {}


def test_what_is_told_anew_is_not_shown_as_refused_meanwhile(told, town):
    VirtualHost.objects.filter(name=ACME).update(refusal="not now", confirmed_generation=1)
    host = VirtualHost.objects.get(name=ACME)
    assert host.status == "failed"
    assert host.supersede()
    host.refresh_from_db()
    assert host.status == "pending"


def test_a_refusal_is_noted_with_its_sentence_and_forgotten_with_the_next_change(told, town):
    told.answers["PUT", f"/virtualhosts/{ACME}"] = 409, {"message": f"{ACME} belongs to other"}
    town.hosts[ACME].refresh_from_db()
    town.hosts[ACME].change()
    assert sync.push_all() == 1
    host = VirtualHost.objects.get(name=ACME)
    assert (host.status, host.problem["detail"]) == ("failed", f"{ACME} belongs to other")
    del told.answers["PUT", f"/virtualhosts/{ACME}"]
    host.change()
    assert host.status == "pending"
    assert sync.push_all() == 0


def test_a_later_generation_recorded_over_there_is_overtaken(told, town, jobs_log):
    """As after an older database was restored here."""
    for name in (ACME, GLOBEX):
        told.overwrite(name, generation=10**14)
    town.hosts[ACME].change(enabled=False)
    town.hosts[GLOBEX].bury(town.hosts[GLOBEX].creation)
    assert sync.push_all() == 0
    assert told.hosts[ACME]["enabled"] is False
    assert GLOBEX not in told.hosts
    assert VirtualHost.objects.get(name=ACME).generation == 10**14 + 1
    assert not [record for record in jobs_log.records if record.levelname == "ERROR"]


def test_what_is_somebody_elses_over_there_is_not_overtaken(told, town):
    told.overwrite(ACME, owner="script", generation=10**14)
    town.hosts[ACME].change(enabled=False)
    assert sync.push_all() == 1
    assert VirtualHost.objects.get(name=ACME).generation < 10**14


def test_a_confirmation_counts_for_what_was_sent_and_not_for_a_later_change(told, town):
    """The host is changed while the control plane answers."""

    class Slow(ControlPlane):
        def put(self, name: str, **wanted: object) -> dict[str, object]:
            answer = super().put(name, **wanted)
            VirtualHost.objects.get(name=name).change(enabled=False)
            return answer

    town.hosts[ACME].change()
    sync.push(VirtualHost.objects.get(name=ACME), Slow(option("CONTROL_URL"), None))
    assert not VirtualHost.objects.get(name=ACME).confirmed
    assert sync.push_all() == 0
    assert told.hosts[ACME]["enabled"] is False


def test_removals_are_told_first(told, town):
    """What they let go of, others may be waiting for."""
    town.hosts[ACME].change()
    town.hosts[GLOBEX].bury(timezone.now())
    told.asked.clear()
    assert sync.push_all() == 0
    assert [method for method, _, _ in told.asked] == ["DELETE", "PUT"]


def test_to_let_go_of_one_domain_takes_away_no_other(told, town):
    """Both exchange one domain; globex.example stays."""
    chief = town.people["SuperAdmins"]
    stays = Domain.objects.create(name="globex.example")
    linking.set_hostname(stays, GLOBEX, chief)
    sync.push_all()
    told.asked.clear()
    linking.set_hostname(town.domains["acme.test"], GLOBEX, chief)
    linking.set_hostname(town.domains["globex.test"], ACME, chief)
    assert sync.push_all() == 0
    put = [body["domains"] for method, path, body in told.asked if (method, path) == GLOBEX_PUT]
    assert ["globex.example"] in put
    assert all("globex.example" in domains for domains in put)


def test_a_host_that_is_somebody_elses_over_there_can_be_deleted_here(told, town):
    told.overwrite(GLOBEX, owner="script")
    town.hosts[GLOBEX].bury(town.hosts[GLOBEX].creation)
    assert sync.push_all() == 0
    assert not VirtualHost.objects.filter(name=GLOBEX).exists()
    assert told.hosts[GLOBEX]["owner"] == "script"


def test_a_refusal_that_stays_is_logged_once(told, town, jobs_log):
    told.overwrite(ACME, owner="script")
    town.hosts[ACME].change()
    jobs.every_minute()
    jobs.every_minute()
    errors = [record.getMessage() for record in jobs_log.records if record.levelname == "ERROR"]
    assert errors == [f"virtual host {ACME}: the control plane refuses: {ACME} belongs to script"]


def test_a_wrong_token_says_what_to_do(town, control_plane):
    control_plane.answers["GET", "/settings"] = 401, {"message": "unknown token"}
    with pytest.raises(Unauthorised, match="edgectl token create"):
        connect().call("GET", "/settings")


def test_two_hosts_that_exchanged_their_domains_meanwhile_are_confirmed_in_one_go(told, town):
    acme, globex = town.domains["acme.test"], town.domains["globex.test"]
    told.down = True
    for domain, host in [(acme, GLOBEX), (globex, ACME)]:
        linking.set_hostname(domain, host, town.people["SuperAdmins"])
    assert sync.push_all() == 2
    told.down = False
    assert sync.push_all() == 0
    assert told.hosts[ACME]["domains"] == ["globex.test"]
    assert told.hosts[GLOBEX]["domains"] == ["acme.test"]


def test_a_name_that_is_taken_again_while_its_tombstone_is_cleared_is_kept(told, town):
    town.hosts[ACME].bury(town.hosts[ACME].creation)

    def take_again(execute, sql, params, many, context):
        if sql.startswith("DELETE"):
            VirtualHost.objects.filter(name=ACME).update(generation=F("generation") + 1)
        return execute(sql, params, many, context)

    with connection.execute_wrapper(take_again):
        sync.push_all()
    assert VirtualHost.objects.filter(name=ACME).exists()


def test_a_refusal_of_what_has_changed_since_is_no_error(told, town, jobs_log):
    """Another worker has told the control plane of the change already."""
    stale = VirtualHost.objects.get(name=ACME)
    VirtualHost.objects.get(name=ACME).change(enabled=False)
    sync.push_all()
    jobs_log.clear()
    assert not sync.attempt(stale, connect())
    assert [record.getMessage() for record in jobs_log.records] == []
    assert VirtualHost.objects.get(name=ACME).confirmed


def test_to_sync_all_undoes_no_change_of_the_same_moment(told, town):
    """Somebody disables a host while the command has read it."""
    told.hosts[ACME]["domains"] = []

    def disable(execute, sql, params, many, context):
        if sql.startswith("UPDATE") and not disabled:
            disabled.append(True)
            VirtualHost.objects.filter(name=ACME).update(enabled=False)
        return execute(sql, params, many, context)

    disabled: list[bool] = []
    with connection.execute_wrapper(disable):
        call_command("virtualhosts_sync", "--all", stdout=io.StringIO())
    assert VirtualHost.objects.get(name=ACME).enabled is False
    assert told.hosts[ACME]["domains"] == ["acme.test"]


def test_renewals_that_are_due_are_asked_for(told):
    told.hosts[ACME] |= {"status": "ready", "certificate": DUE}
    told.hosts[GLOBEX] |= {
        "status": "ready",
        "certificate": {**DUE, "renew_at": "2999-01-01T00:00:00Z"},
    }
    told.answers["POST", f"/virtualhosts/{ACME}/renew"] = 202, {}
    jobs.check_certificate_renewals()
    renewals = [path for method, path, _ in told.asked if path.endswith("/renew")]
    assert renewals == [f"/virtualhosts/{ACME}/renew"]


def test_no_renewal_is_asked_for_of_a_host_that_is_disabled(told, town):
    told.hosts[ACME] |= {"status": "ready", "certificate": DUE}
    VirtualHost.objects.get(name=ACME).change(enabled=False)
    sync.push_all()
    jobs.check_certificate_renewals()
    assert [path for _, path, _ in told.asked if path.endswith("/renew")] == []


def test_each_renewal_that_is_scheduled_is_logged_once(told, jobs_log):
    for planned in ("2999-01-01T00:00:00Z", "2999-03-01T00:00:00Z"):
        told.hosts[ACME] |= {"status": "ready", "certificate": {**DUE, "renew_at": planned}}
        jobs_log.clear()
        for _ in range(2):
            jobs.every_minute()
        assert [record.getMessage() for record in jobs_log.records] == [
            f"virtual host {ACME}: renewal scheduled for {planned}"
        ]


def test_a_renewal_that_is_refused_keeps_none_of_the_others_from_being_asked_for(told, jobs_log):
    for name in (ACME, GLOBEX):
        told.hosts[name] |= {"status": "ready", "certificate": DUE}
    told.answers["POST", f"/virtualhosts/{ACME}/renew"] = 409, {"message": "limit reached"}
    told.answers["POST", f"/virtualhosts/{GLOBEX}/renew"] = 202, {}
    jobs.check_certificate_renewals()
    said = [record.getMessage() for record in jobs_log.records]
    assert [line for line in said if "scheduled" not in line] == [
        f"virtual host {ACME}: renewal is refused: limit reached",
        f"virtual host {GLOBEX}: renewal asked for",
    ]


def test_a_link_whose_domain_went_while_we_were_away_is_dropped_and_told(told, town):
    Link.objects.filter(virtual_host__name=GLOBEX).update(domain_id=999_999)
    jobs.every_minute()
    assert told.hosts[GLOBEX]["domains"] == []
    assert not Link.objects.filter(virtual_host__name=GLOBEX).exists()


def test_the_scheduler_has_one_job_of_ours_a_minute(tmp_path):
    configuration = tmp_path / "cron_config.py"
    configuration.write_text("import modoboa_ext.cron  # noqa\n")
    scheduler = CronScheduler(connection=django_rq.get_connection("modoboa"))
    scheduler.load_config_from_file(str(configuration))
    [job] = scheduler.get_jobs()
    assert (job.func, job.queue_name, job.cron) == (jobs.every_minute, "modoboa", "* * * * *")


def test_compare_names_each_difference_and_sync_mends_it(told):
    out = io.StringIO()
    call_command("virtualhosts_compare", stdout=out)
    assert out.getvalue() == "No difference.\n"
    told.hosts[ACME]["domains"] = []
    del told.hosts[GLOBEX]
    with pytest.raises(CommandError, match="2 differences"):
        call_command("virtualhosts_compare", stdout=out)
    assert f"{ACME}: domains is ['acme.test'] here and [] there" in out.getvalue()
    call_command("virtualhosts_sync", "--all", stdout=out)
    call_command("virtualhosts_compare", stdout=out)


def test_compare_names_a_removal_that_waits(told, town):
    town.hosts[ACME].bury(timezone.now())
    out = io.StringIO()
    with pytest.raises(CommandError, match="1 differences"):
        call_command("virtualhosts_compare", stdout=out)
    assert out.getvalue() == f"{ACME}: presence is False here and True there\n"


@pytest.mark.parametrize("change", [{"enabled": False}, {"domains": []}, {"generation": 10**14}])
def test_what_somebody_changes_over_there_is_put_right_within_two_minutes(told, change):
    told.overwrite(ACME, **change)
    jobs.every_minute()
    jobs.every_minute()
    assert told.hosts[ACME]["enabled"] is True
    assert told.hosts[ACME]["domains"] == ["acme.test"]
    told.asked.clear()
    jobs.every_minute()
    assert "PUT" not in [method for method, _, _ in told.asked]


def test_an_answer_from_before_a_change_neither_hides_it_nor_is_taken_for_a_difference(told, town):
    asked_at = timezone.now()
    before = {name: dict(host) for name, host in told.hosts.items()}
    town.hosts[ACME].change(enabled=False)
    sync.push_all()
    mirror.note_all(before, asked_at)
    host = VirtualHost.objects.get(name=ACME)
    assert host.confirmed
    assert host.mirror["enabled"] is False


def test_an_answer_that_comes_while_the_list_is_noted_is_the_later_one(told, town):
    """The queue tells of a change after the rows were read, and before their mirrors are written."""
    before = {name: {**host, "step": "of the list"} for name, host in told.hosts.items()}
    asked_at = timezone.now()

    def change(execute, sql, *rest):
        if sql.startswith("UPDATE") and not changed:
            changed.append(True)
            VirtualHost.objects.get(name=ACME).change(enabled=False)
            sync.push_all()
        return execute(sql, *rest)

    changed: list[bool] = []
    with connection.execute_wrapper(change):
        mirror.note_all(before, asked_at)
    assert VirtualHost.objects.get(name=ACME).mirror["enabled"] is False
    assert VirtualHost.objects.get(name=GLOBEX).mirror["step"] == "of the list"


def test_each_minute_writes_only_the_mirrors_that_changed(told):
    jobs.every_minute()
    told.hosts[ACME]["status"] = "ready"
    with CaptureQueriesContext(connection) as queries:
        jobs.note_all(connect())
    writes = [query["sql"] for query in queries if query["sql"].startswith("UPDATE")]
    assert len(writes) == 2, "the mirror of one host, and the time of all"
    assert VirtualHost.objects.get(name=ACME).status == "ready"
    assert told.hosts[GLOBEX] == VirtualHost.objects.get(name=GLOBEX).mirror


def test_a_host_of_many_domains_is_deleted_by_one_change(
    told, town, django_capture_on_commit_callbacks
):
    made = [Domain(name=f"d{number}.test") for number in range(20)]
    for domain in Domain.objects.bulk_create(made):
        Link.objects.create(domain=domain, virtual_host=town.hosts[ACME])
    django_rq.get_queue("modoboa").empty()
    with django_capture_on_commit_callbacks(execute=True):
        VirtualHost.objects.get(name=ACME).bury(timezone.now())
    assert len(django_rq.get_queue("modoboa").jobs) == 1
    assert not Link.objects.filter(virtual_host__name=ACME).exists()


def test_what_exists_only_over_there_is_deleted_when_pruning_is_asked_for(told):
    told.overwrite("mail.ghost.test", owner="modoboa")
    out = io.StringIO()
    call_command("virtualhosts_sync", "--all", stdout=out)
    with pytest.raises(CommandError, match=r"1 differences.*--prune"):
        call_command("virtualhosts_compare", stdout=out)
    call_command("virtualhosts_sync", "--prune", stdout=out)
    assert "mail.ghost.test: deleted over there" in out.getvalue()
    call_command("virtualhosts_compare", stdout=out)
    assert set(told.hosts) == {ACME, GLOBEX}


def test_pruning_leaves_alone_what_is_somebody_elses(told):
    told.overwrite("mail.script.test", owner="script")
    told.overwrite("mail.nobody.test")
    call_command("virtualhosts_sync", "--prune", stdout=io.StringIO())
    assert set(told.hosts) == {ACME, GLOBEX, "mail.script.test", "mail.nobody.test"}


def test_of_more_hosts_than_a_page_holds_each_is_known(told):
    for number in range(1001):
        told.overwrite(f"h{number:04}.crowd.test", owner="modoboa")
    names = [host["hostname"] for host in connect().all()]
    assert len(names) == len(set(names)) == 1003


def test_a_control_plane_that_is_asked_too_often_has_refused_nothing(town, control_plane):
    busy = 429, {"message": "too many requests: try again in 3 s"}
    control_plane.answers["PUT", f"/virtualhosts/{ACME}"] = busy
    assert sync.push_all() == 2
    assert VirtualHost.objects.get(name=ACME).status == "pending"


def test_a_proxy_in_the_environment_is_not_asked(town, control_plane, monkeypatch):
    for name in ("http_proxy", "HTTP_PROXY", "all_proxy"):
        monkeypatch.setenv(name, "http://127.0.0.1:9")
    for name in ("no_proxy", "NO_PROXY"):
        monkeypatch.delenv(name, raising=False)
    assert sync.push_all() == 0


def test_sync_says_what_waits(town, control_plane):
    control_plane.down = True
    with pytest.raises(CommandError, match="2 not confirmed"):
        call_command("virtualhosts_sync")
