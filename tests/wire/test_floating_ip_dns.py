# SPDX-License-Identifier: Apache-2.0
"""os-floating-ip-dns: domains, entries, who may do what, and what the hosts' resolvers are told."""

from __future__ import annotations

from typing import Any

import pytest

from tests.cloud import Compute
from tests.conftest import Api
from tests.hostile import VALUES
from tests.wire.conftest import Boot

DNS = "/os-floating-ip-dns"


def make(admin: Api, name: str = "example.org", **more: Any) -> Any:
    """The answer to a domain that is asked for."""
    return admin.put(f"{DNS}/{name}", {"domain_entry": {"scope": "public", **more}})


def name(api: Api, entry: str, ip: str, domain: str = "example.org", **more: Any) -> Any:
    """The answer to an entry that is asked for."""
    return api.put(f"{DNS}/{domain}/entries/{entry}", {"dns_entry": {"ip": ip, "dns_type": "A", **more}})


def test_domains(admin: Api, api: Api) -> None:
    made = make(admin, project=api.project_id)
    shown = {"domain": "example.org", "scope": "public", "project": api.project_id, "availability_zone": None}
    assert (made.status_code, made.json) == (200, {"domain_entry": shown})
    assert api.get(DNS).json == {"domain_entries": [shown]}
    assert api.become("member").get(DNS).json == {"domain_entries": []}
    private = {"domain_entry": {"scope": "private", "availability_zone": "nova"}}
    inside = admin.put(f"{DNS}/inside%252Eexample%252Eorg", private)
    assert inside.json["domain_entry"] == {
        "domain": "inside.example.org",
        "scope": "private",
        "project": None,
        "availability_zone": "nova",
    }
    assert len(api.get(DNS).json["domain_entries"]) == 2
    gone = admin.delete(f"{DNS}/example.org")
    assert (gone.status_code, gone.text) == (200, "")
    assert admin.delete(f"{DNS}/example.org").status_code == 404


def test_bad_domains(admin: Api, api: Api) -> None:
    for bad in ("a b", "-a.org", "a..org", "x" * 64, "<a>", "a%0Ab", "a/b"):
        assert make(admin, bad).status_code in (400, 404), bad
    assert admin.put(f"{DNS}/a.org", {"domain_entry": {"scope": "private", "project": "p"}}).status_code == 400
    assert make(admin, availability_zone="nova").status_code == 400
    assert admin.put(f"{DNS}/a.org", {"domain_entry": {"scope": "else"}}).status_code == 400
    assert make(api).status_code == 403
    assert api.delete(f"{DNS}/example.org").status_code == 403
    for value in VALUES:
        assert make(admin, project=value).status_code in (200, 400), value


def test_entries(admin: Api, api: Api) -> None:
    make(admin, project=api.project_id)
    made = name(api, "www", "192.168.53.11")
    entry = {"domain": "example.org", "id": None, "ip": "192.168.53.11", "name": "www", "type": "A"}
    assert (made.status_code, made.json) == (200, {"dns_entry": entry})
    entry["type"] = None
    one = f"{DNS}/example.org/entries/www"
    assert api.get(one).json == {"dns_entry": entry}
    assert api.get(f"{DNS}/example%252Eorg/entries/www").json == {"dns_entry": entry}
    name(api, "alias", "192.168.53.11")
    by_address = api.get(f"{DNS}/example.org/entries/192.168.53.11").json["dns_entries"]
    assert [item["name"] for item in by_address] == ["alias", "www"]
    name(api, "mail", "192.168.53.13")
    for query, names in (("", ["alias", "mail", "www"]), ("?ip=192.168.53.11", ["alias", "www"]), ("?ip=1.2.3.4", [])):
        listed = api.get(f"{DNS}/example.org/entries{query}")
        assert (listed.status_code, [item["name"] for item in listed.json["dns_entries"]]) == (200, names)
    assert api.get(f"{DNS}/example.org/entries?ip=x").status_code == 400
    assert api.become("member").get(f"{DNS}/example.org/entries").status_code == 404
    name(api, "www", "192.168.53.12")
    assert api.get(one).json["dns_entry"]["ip"] == "192.168.53.12"
    gone = api.delete(one)
    assert (gone.status_code, gone.text) == (200, "")
    assert api.get(one).status_code == 404
    assert api.delete(one).status_code == 404
    assert api.get(f"{DNS}/example.org/entries/192.168.53.99").status_code == 404


def test_who_may_name_what(admin: Api, api: Api) -> None:
    make(admin)
    make(admin, "theirs.org", project=admin.project_id)
    assert name(api, "www", "192.168.53.11").status_code == 200
    stranger = api.become("member")
    assert name(stranger, "www", "192.168.53.66").status_code == 403
    assert stranger.delete(f"{DNS}/example.org/entries/www").status_code == 403
    assert name(api, "www", "192.168.53.11", domain="theirs.org").status_code == 404
    assert api.get(f"{DNS}/theirs.org/entries/www").status_code == 404
    reader = api.become("reader", project_id=api.project_id)
    assert reader.get(f"{DNS}/example.org/entries/www").status_code == 200
    assert name(reader, "mail", "192.168.53.11").status_code == 403
    assert reader.delete(f"{DNS}/example.org/entries/www").status_code == 403


@pytest.mark.parametrize(
    "more", [{"ip": "x"}, {"dns_type": "MX"}, {"ip": None}, {"unknown": 1}, {"ip": "fe80::1%eth0"}, {"ip": 1}]
)
def test_bad_entries(admin: Api, api: Api, more: dict[str, Any]) -> None:
    make(admin)
    assert name(api, "www", **{"ip": "192.168.53.11", **more}).status_code == 400
    assert name(api, "a b", "192.168.53.11").status_code == 400
    assert name(api, "www", "192.168.53.11", domain="unknown.org").status_code == 404


def test_hosts_answer(admin: Api, api: Api, compute: Compute, boot: Boot) -> None:
    driver: Any = compute.driver
    boot()
    make(admin)
    private = {"domain_entry": {"scope": "private", "availability_zone": "elsewhere"}}
    admin.put(f"{DNS}/elsewhere.org", private)
    name(api, "www", "192.168.53.11")
    name(api, "www", "192.168.53.12", domain="elsewhere.org")
    compute.work()
    assert driver.firewall.names == (("www.example.org", "192.168.53.11"),)
    admin.delete(f"{DNS}/example.org")
    compute.work()
    assert driver.firewall.names == ()


def test_a_released_address_has_no_name(admin: Api, api: Api) -> None:
    make(admin)
    admin.post("/os-floating-ips-bulk", {"floating_ips_bulk_create": {"ip_range": "192.168.1.9"}})
    floating = api.post("/os-floating-ips", {}).json["floating_ip"]
    name(api, "www", floating["ip"])
    api.delete(f"/os-floating-ips/{floating['id']}")
    assert api.get(f"{DNS}/example.org/entries/www").status_code == 404
