# SPDX-License-Identifier: Apache-2.0
"""os-instance_usage_audit_log, in the reference os-instance-usage-audit-log
(nova/api/openstack/compute/instance_usage_audit_log.py): which hosts audited the newest complete period.
"""

from __future__ import annotations

from datetime import datetime
from typing import Any

from computeapi import clock, errors
from computeapi.db.queries import usage_audit as queries
from computeapi.endpoint import Call
from computeapi.policy import ADMIN, rule

Json = dict[str, Any]

# --- RULES ---

AUDIT = "os_compute_api:os-instance-usage-audit-log:"
_PATH = "/os-instance_usage_audit_log"

RULES = [
    rule(AUDIT + "list", ADMIN, "See the audits of the newest complete period.", ("GET", _PATH)),
    rule(AUDIT + "show", ADMIN, "See those before a moment.", ("GET", _PATH + "/{before_timestamp}")),
]

# --- HANDLERS ---


def index(call: Call) -> Json:
    """GET /os-instance_usage_audit_log."""
    return {"instance_usage_audit_logs": _log(call, None)}


def show(call: Call) -> Json:
    """GET /os-instance_usage_audit_log/{before}: "2012-07-01 00:00:00", with a fraction or without."""
    text = call.params["before_timestamp"]
    form = "%Y-%m-%d %H:%M:%S.%f" if "." in text else "%Y-%m-%d %H:%M:%S"
    try:
        before = datetime.strptime(text, form)
        return {"instance_usage_audit_log": _log(call, before)}
    except (ValueError, OverflowError):
        raise errors.BadRequest(f"Invalid timestamp for date {text}") from None


def _log(call: Call, before: datetime | None) -> Json:
    begin, end = queries.period(call.services.settings.instance_usage_audit_period, before)
    with call.services.db.snapshot() as conn:
        logs = queries.logs(conn, clock.text(begin), clock.text(end))
        hosts = queries.hosts(conn)
    done = [log.host for log in logs if log.state == queries.DONE]
    missing = sorted(set(hosts) - {log.host for log in logs})
    total_errors = sum(log.errors for log in logs)
    share = "ALL" if len(done) == len(hosts) else f"{len(done)} of {len(hosts)}"
    return {
        "period_beginning": str(begin),
        "period_ending": str(end),
        "num_hosts": len(hosts),
        "num_hosts_done": len(done),
        "num_hosts_running": sum(log.state == queries.RUNNING for log in logs),
        "num_hosts_not_run": len(missing),
        "hosts_not_run": missing,
        "total_instances": sum(log.task_items for log in logs),
        "total_errors": total_errors,
        "overall_status": f"{share} hosts done. {total_errors} errors.",
        "log": {
            log.host: {
                "state": log.state,
                "instances": log.task_items,
                "errors": log.errors,
                "message": log.message,
            }
            for log in logs
        },
    }
