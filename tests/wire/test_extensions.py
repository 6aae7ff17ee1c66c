# SPDX-License-Identifier: Apache-2.0
"""The list of extensions."""

from __future__ import annotations

from typing import Any

import pytest

KEYS = {"alias", "name", "namespace", "updated", "description", "links"}


@pytest.mark.parametrize("role", ["reader", "member", "manager", "service", "admin"])
def test_list(api: Any, role: str) -> None:
    answer = api.become(role).get("/extensions")
    assert answer.status_code == 200
    assert answer.headers["content-type"] == "application/json"
    assert set(answer.json) == {"extensions"}
    found = answer.json["extensions"]
    assert len(found) == 99
    aliases = [item["alias"] for item in found]
    assert aliases == sorted(set(aliases))
    for item in found:
        assert set(item) == KEYS
        assert item["links"] == []
        assert item["namespace"] == "http://docs.openstack.org/compute/ext/fake_xml"
        assert item["updated"] == "2014-12-03T00:00:00Z"
        assert item["description"]


def test_what_clients_and_test_suites_look_for(api: Any) -> None:
    found = {item["alias"]: item["name"] for item in api.get("/extensions").json["extensions"]}
    assert found["os-hosts"] == "Hosts"
    assert found["NMN"] == "Multinic"
    assert found["OS-DCF"] == "DiskConfig"
    assert found["os-keypairs"] == "Keypairs"
    assert found["os-instance_usage_audit_log"] == "OSInstanceUsageAuditLog"
    assert found["os-tenant-networks"] == "OSTenantNetworks"
    assert {"os-networks", "os-fixed-ips", "os-floating-ips", "os-security-groups", "os-cells"} <= set(found)


def test_each_can_be_shown(api: Any) -> None:
    for item in api.get("/extensions").json["extensions"]:
        answer = api.get(f"/extensions/{item['alias']}")
        assert answer.status_code == 200
        assert answer.json == {"extension": item}


def test_v2_has_one_more(api: Any) -> None:
    found = [item["alias"] for item in api.get("/v2/extensions").json["extensions"]]
    assert len(found) == 100
    assert found == sorted(found)
    assert api.get("/v2/extensions/OS-EXT-VIF-NET").json["extension"]["name"] == "ExtendedVIFNet"
    assert api.get("/extensions/OS-EXT-VIF-NET").status_code == 404


@pytest.mark.parametrize("alias", ["nope", "Hosts", "OS-HOSTS", "os-consoles%20", "%25", "é", "x" * 5000])
def test_what_is_not_there(api: Any, alias: str) -> None:
    answer = api.get(f"/extensions/{alias}")
    assert answer.status_code == 404
    assert answer.json == {"itemNotFound": {"code": 404, "message": "The resource could not be found."}}


def test_what_is_refused(api: Any) -> None:
    for path in ("/extensions", "/extensions/os-hosts"):
        assert api.get(path, headers={"X-Auth-Token": ""}).status_code == 401
        for method in ("POST", "PUT", "DELETE"):
            assert api.request(method, path).status_code == 404
    assert api.get(f"/v2.1/{api.project_id}/extensions/os-consoles").status_code == 200
