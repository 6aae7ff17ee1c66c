# SPDX-License-Identifier: Apache-2.0
"""Security groups and their rules in the Networking API, and the groups of ports."""

from __future__ import annotations

import uuid
from typing import Any

import pytest

from tests.conftest import Api
from tests.hostile import VALUES

V = "/network/v2.0"
GROUPS, RULES = f"{V}/security-groups", f"{V}/security-group-rules"


def make(api: Api, **more: Any) -> dict[str, Any]:
    """A new group."""
    answer = api.post(GROUPS, {"security_group": {"name": "web", **more}})
    assert answer.status_code == 201, answer.text
    return dict(answer.json["security_group"])


def add_rule(api: Api, group: str, **more: Any) -> Any:
    """The answer to a rule that is asked for."""
    body = {"security_group_id": group, "direction": "ingress", **more}
    return api.post(RULES, {"security_group_rule": body})


def kind(answer: Any) -> str:
    """The name of an error."""
    return str(answer.json["NeutronError"]["type"])


def test_default_group(api: Api, admin: Api) -> None:
    (group,) = api.get(f"{GROUPS}?name=default").json["security_groups"]
    assert (group["name"], group["project_id"], group["stateful"]) == ("default", api.project_id, True)
    rules = {(rule["direction"], rule["ethertype"], rule["remote_group_id"]) for rule in group["security_group_rules"]}
    assert rules == {
        ("egress", "IPv4", None),
        ("egress", "IPv6", None),
        ("ingress", "IPv4", group["id"]),
        ("ingress", "IPv6", group["id"]),
    }
    other = uuid.uuid4().hex
    (made,) = admin.get(f"{GROUPS}?project_id={other}&name=default").json["security_groups"]
    assert made["project_id"] == other
    assert kind(api.delete(f"{GROUPS}/{group['id']}")) == "SecurityGroupCannotRemoveDefault"
    renamed = api.put(f"{GROUPS}/{group['id']}", {"security_group": {"name": "else"}})
    assert (renamed.status_code, kind(renamed)) == (409, "SecurityGroupCannotUpdateDefault")
    assert admin.delete(f"{GROUPS}/{made['id']}").status_code == 204
    taken = api.post(GROUPS, {"security_group": {"name": "Default"}})
    assert (taken.status_code, kind(taken)) == (409, "SecurityGroupDefaultAlreadyExists")
    taken = api.put(f"{GROUPS}/{make(api)['id']}", {"security_group": {"name": "default"}})
    assert (taken.status_code, kind(taken)) == (409, "SecurityGroupDefaultAlreadyExists")


def test_create_show_update_delete(api: Api) -> None:
    group = make(api, description="what it is for", stateful=False)
    assert (group["description"], group["stateful"], group["revision_number"]) == ("what it is for", False, 1)
    assert [rule["direction"] for rule in group["security_group_rules"]] == ["egress", "egress"]
    one = f"{GROUPS}/{group['id']}"
    assert api.get(one).json["security_group"] == group
    changed = api.put(one, {"security_group": {"name": "other"}}).json["security_group"]
    assert (changed["name"], changed["revision_number"]) == ("other", 2)
    assert api.get(f"{one}?fields=id&fields=name").json == {"security_group": {"id": group["id"], "name": "other"}}
    assert api.put(f"{one}/tags/blue").status_code == 201
    assert [item["id"] for item in api.get(f"{GROUPS}?tags=blue").json["security_groups"]] == [group["id"]]
    assert api.delete(one).status_code == 204
    missing = api.get(one)
    assert (missing.status_code, kind(missing)) == (404, "SecurityGroupNotFound")


def test_rules_come_and_go(api: Api) -> None:
    group = make(api)["id"]
    body = {"protocol": "TCP", "port_range_min": 80, "port_range_max": "90", "remote_ip_prefix": "10.1.2.3/24"}
    made = add_rule(api, group, **body)
    assert made.status_code == 201
    rule = made.json["security_group_rule"]
    assert (rule["protocol"], rule["port_range_min"], rule["port_range_max"]) == ("tcp", 80, 90)
    assert (rule["remote_ip_prefix"], rule["normalized_cidr"]) == ("10.1.2.3/24", "10.1.2.0/24")
    assert (rule["ethertype"], rule["remote_group_id"], rule["project_id"]) == ("IPv4", None, api.project_id)
    again = add_rule(api, group, **body)
    assert (again.status_code, kind(again)) == (409, "SecurityGroupRuleExists")
    one = f"{RULES}/{rule['id']}"
    assert api.get(one).json["security_group_rule"] == rule
    listed = api.get(f"{RULES}?security_group_id={group}&direction=ingress").json["security_group_rules"]
    assert listed == [rule]
    assert api.delete(one).status_code == 204
    missing = api.delete(one)
    assert (missing.status_code, kind(missing)) == (404, "SecurityGroupRuleNotFound")


def test_no_such_remote_group(api: Api) -> None:
    group = make(api)["id"]
    for remote in ("bad_group_id", str(uuid.uuid4())):
        missing = add_rule(api, group, remote_group_id=remote)
        assert (missing.status_code, kind(missing)) == (404, "SecurityGroupNotFound")


@pytest.mark.parametrize("protocol", ["icmp", "tcp"])
def test_port_minus_one(api: Api, protocol: str) -> None:
    answer = add_rule(api, make(api)["id"], protocol=protocol, port_range_min=-1, port_range_max=25)
    assert (answer.status_code, kind(answer)) == (400, "SecurityGroupInvalidPortValue")


def test_several_rules_at_once(api: Api) -> None:
    group = make(api)["id"]
    rules = [
        {"security_group_id": group, "direction": "egress", "protocol": "udp", "ethertype": "IPv6"},
        {"security_group_id": group, "direction": "ingress", "protocol": 47},
    ]
    made = api.post(RULES, {"security_group_rules": rules})
    assert made.status_code == 201
    assert [rule["protocol"] for rule in made.json["security_group_rules"]] == ["udp", "47"]
    rules = [{**rules[0], "protocol": "sctp"}, rules[1]]
    assert api.post(RULES, {"security_group_rules": rules}).status_code == 409
    assert "sctp" not in {rule["protocol"] for rule in api.get(RULES).json["security_group_rules"]}
    assert api.post(RULES, {"security_group_rules": []}).status_code == 400


@pytest.mark.parametrize(
    ("rule", "name"),
    [
        ({"protocol": "tcp", "port_range_min": 9, "port_range_max": 8}, "SecurityGroupInvalidPortRange"),
        ({"protocol": "tcp", "port_range_min": 9}, "SecurityGroupInvalidPortRange"),
        ({"protocol": "tcp", "port_range_min": 0, "port_range_max": 8}, "SecurityGroupInvalidPortValue"),
        ({"protocol": "tcp", "port_range_min": 1, "port_range_max": 65536}, "SecurityGroupInvalidPortValue"),
        ({"port_range_min": 1, "port_range_max": 2}, "SecurityGroupProtocolRequiredWithPorts"),
        ({"protocol": "gre", "port_range_min": 1, "port_range_max": 2}, "SecurityGroupInvalidProtocolForPort"),
        ({"protocol": "icmp", "port_range_max": 2}, "SecurityGroupMissingIcmpType"),
        ({"protocol": "icmp", "port_range_min": 256}, "SecurityGroupInvalidIcmpValue"),
        ({"protocol": "nonsense"}, "SecurityGroupRuleInvalidProtocol"),
        ({"protocol": 256}, "SecurityGroupRuleInvalidProtocol"),
        ({"remote_ip_prefix": "fd00::/8"}, "SecurityGroupRuleParameterConflict"),
        ({"remote_ip_prefix": "10.0.0.0/99"}, "HTTPBadRequest"),
        ({"direction": "sideways"}, "HTTPBadRequest"),
        ({"ethertype": "IPv5"}, "HTTPBadRequest"),
        ({"unknown": 1}, "HTTPBadRequest"),
    ],
)
def test_bad_rules(api: Api, rule: dict[str, Any], name: str) -> None:
    answer = add_rule(api, make(api)["id"], **rule)
    assert (answer.status_code, kind(answer)) == (400, name)


def test_remote_groups(api: Api) -> None:
    group, remote = make(api)["id"], make(api)["id"]
    both = add_rule(api, group, remote_group_id=remote, remote_ip_prefix="10.0.0.0/8")
    assert both.status_code == 400
    assert add_rule(api, group, remote_group_id=remote).json["security_group_rule"]["remote_group_id"] == remote
    assert add_rule(api, group, remote_group_id=str(uuid.uuid4())).status_code == 404
    assert add_rule(api, str(uuid.uuid4())).status_code == 404
    stranger = api.become("member")
    assert add_rule(stranger, group).status_code == 404
    assert add_rule(stranger, make(stranger)["id"], remote_group_id=group).status_code == 404
    assert api.delete(f"{GROUPS}/{remote}").status_code == 204
    assert api.get(f"{RULES}?direction=ingress&security_group_id={group}").json["security_group_rules"] == []


def test_who_sees_what(api: Api, admin: Api) -> None:
    group = make(api)["id"]
    stranger = api.become("member")
    assert stranger.get(f"{GROUPS}/{group}").status_code == 404
    assert {item["name"] for item in stranger.get(GROUPS).json["security_groups"]} == {"default"}
    assert stranger.delete(f"{GROUPS}/{group}").status_code == 404
    assert admin.get(f"{GROUPS}/{group}").status_code == 200
    reader = api.become("reader", project_id=api.project_id)
    assert reader.get(f"{GROUPS}/{group}").status_code == 200
    assert reader.post(GROUPS, {"security_group": {"name": "a"}}).status_code == 403
    assert add_rule(reader, group).status_code == 403
    others = api.post(GROUPS, {"security_group": {"name": "a", "project_id": admin.project_id}})
    assert others.status_code == 403


def test_quota(api: Api) -> None:
    for _ in range(9):
        make(api)
    over = api.post(GROUPS, {"security_group": {"name": "one more"}})
    assert (over.status_code, kind(over)) == (409, "OverQuota")


def test_groups_of_ports(api: Api, network: str) -> None:
    default = api.get(f"{GROUPS}?name=default").json["security_groups"][0]["id"]
    group = make(api)["id"]
    port = api.post(f"{V}/ports", {"port": {"network_id": network}}).json["port"]
    assert port["security_groups"] == [default]
    one = f"{V}/ports/{port['id']}"
    changed = api.put(one, {"port": {"security_groups": [group, default]}}).json["port"]
    assert set(changed["security_groups"]) == {group, default}
    plain = api.post(f"{V}/ports", {"port": {"network_id": network}}).json["port"]["id"]
    for query, ids in ((group, {port["id"]}), (default, {port["id"], plain}), (str(uuid.uuid4()), set())):
        assert {item["id"] for item in api.get(f"{V}/ports?security_groups={query}").json["ports"]} == ids
    used = api.delete(f"{GROUPS}/{group}")
    assert (used.status_code, kind(used)) == (409, "SecurityGroupInUse")
    assert api.put(one, {"port": {"security_groups": []}}).json["port"]["security_groups"] == []
    assert api.delete(f"{GROUPS}/{group}").status_code == 204
    unknown = api.put(one, {"port": {"security_groups": [str(uuid.uuid4())]}})
    assert (unknown.status_code, kind(unknown)) == (404, "SecurityGroupNotFound")
    theirs = make(api.become("member"))["id"]
    assert api.post(f"{V}/ports", {"port": {"network_id": network, "security_groups": [theirs]}}).status_code == 404
    named = api.post(f"{V}/ports", {"port": {"network_id": network, "security_groups": [default]}}).json["port"]
    assert named["security_groups"] == [default]


def test_ports_without_security(api: Api) -> None:
    network = api.post(f"{V}/networks", {"network": {}}).json["network"]["id"]
    body = {"network_id": network, "port_security_enabled": False}
    port = api.post(f"{V}/ports", {"port": body}).json["port"]
    assert (port["security_groups"], port["port_security_enabled"]) == ([], False)
    group = make(api)["id"]
    refused = api.put(f"{V}/ports/{port['id']}", {"port": {"security_groups": [group]}})
    assert refused.status_code == 409
    guarded = api.post(f"{V}/ports", {"port": {"network_id": network}}).json["port"]["id"]
    off = api.put(f"{V}/ports/{guarded}", {"port": {"port_security_enabled": False}})
    assert (off.status_code, kind(off)) == (409, "PortSecurityPortHasSecurityGroup")
    both = {"port_security_enabled": False, "security_groups": []}
    assert api.put(f"{V}/ports/{guarded}", {"port": both}).status_code == 200


def test_hostile_bodies(api: Api) -> None:
    group = make(api)["id"]
    for value in VALUES:
        for name in (
            "protocol",
            "port_range_min",
            "port_range_max",
            "remote_ip_prefix",
            "remote_group_id",
            "ethertype",
        ):
            assert add_rule(api, group, **{name: value}).status_code < 500, (name, value)
        for name in ("name", "description", "stateful"):
            assert api.put(f"{GROUPS}/{group}", {"security_group": {name: value}}).status_code < 500, (name, value)
