# SPDX-License-Identifier: Apache-2.0
"""os-security-groups, os-security-group-rules, os-security-group-default-rules, and the groups of a server."""

from __future__ import annotations

import uuid
from typing import Any

import pytest

from tests.conftest import Api
from tests.hostile import VALUES
from tests.wire.conftest import Boot, MakeServer

GROUPS, RULES, DEFAULTS = "/os-security-groups", "/os-security-group-rules", "/os-security-group-default-rules"
V = "/network/v2.0"


def make(api: Api, name: str = "web", description: str = "what it is for") -> dict[str, Any]:
    """A new group."""
    answer = api.post(GROUPS, {"security_group": {"name": name, "description": description}})
    assert answer.status_code == 200, answer.text
    return dict(answer.json["security_group"])


def add_rule(api: Api, group: str, **rule: Any) -> Any:
    """The answer to a rule that is asked for; TCP 22 unless told."""
    body = {"parent_group_id": group, "ip_protocol": "tcp", "from_port": 22, "to_port": 22, **rule}
    return api.post(RULES, {"security_group_rule": body})


def message(answer: Any) -> str:
    """A fault's sentence."""
    (fault,) = answer.json.values()
    return str(fault["message"])


# --- groups ---


def test_the_default_group_is_there_from_the_first_look(api: Api) -> None:
    (group,) = api.get(GROUPS).json["security_groups"]
    assert group["name"] == "default"
    assert group["tenant_id"] == api.project_id
    assert [rule["group"] for rule in group["rules"]] == [{"name": "default", "tenant_id": api.project_id}] * 2
    assert set(group["rules"][0]) == {
        "id",
        "parent_group_id",
        "ip_protocol",
        "from_port",
        "to_port",
        "group",
        "ip_range",
    }
    assert group["rules"][0]["ip_protocol"] is None
    assert api.get(GROUPS).json["security_groups"] == [group]


def test_create_show_update_delete(api: Api) -> None:
    group = make(api, " my group ")
    assert group == {
        "id": group["id"],
        "name": " my group ",
        "description": "what it is for",
        "tenant_id": api.project_id,
        "rules": [],
    }
    assert api.get(f"{GROUPS}/{group['id']}").json["security_group"] == group
    body = {"security_group": {"name": "other", "description": "else", "unknown": 1}}
    changed = api.put(f"{GROUPS}/{group['id']}", body)
    assert changed.status_code == 200
    assert changed.json["security_group"] == {**group, "name": "other", "description": "else"}
    gone = api.delete(f"{GROUPS}/{group['id']}")
    assert (gone.status_code, gone.text) == (202, "")
    assert api.get(f"{GROUPS}/{group['id']}").status_code == 404
    assert api.delete(f"{GROUPS}/{group['id']}").status_code == 404


def test_both_apis_show_the_same_rows(api: Api) -> None:
    group = make(api)
    add_rule(api, group["id"])
    seen = api.get(f"{V}/security-groups/{group['id']}").json["security_group"]
    assert (seen["name"], seen["description"]) == ("web", "what it is for")
    inward = [rule for rule in seen["security_group_rules"] if rule["direction"] == "ingress"]
    assert [(rule["protocol"], rule["port_range_min"], rule["port_range_max"]) for rule in inward] == [("tcp", 22, 22)]
    assert api.get(f"/v2/{api.project_id}{GROUPS}").json == api.get(GROUPS).json


def test_list_sorts_and_pages(api: Api, admin: Api) -> None:
    for name in ("b", "a", "c"):
        make(api, name)
    names = [group["name"] for group in api.get(GROUPS).json["security_groups"]]
    assert names == ["a", "b", "c", "default"]
    page = api.get(f"{GROUPS}?limit=1&offset=1").json["security_groups"]
    assert len(page) == 1
    assert api.get(f"{GROUPS}?limit=x").status_code == 400
    assert api.get(f"{GROUPS}?limit={'9' * 40}").status_code == 200
    assert {group["tenant_id"] for group in admin.get(GROUPS).json["security_groups"]} == {admin.project_id}
    everybodys = admin.get(f"{GROUPS}?all_tenants=1").json["security_groups"]
    assert {group["tenant_id"] for group in everybodys} == {admin.project_id, api.project_id}
    own = api.get(f"{GROUPS}?all_tenants=1").json["security_groups"]
    assert {group["tenant_id"] for group in own} == {api.project_id}


@pytest.mark.parametrize("name", ["", " ", "x" * 256, None, 1, [], "a\x00b"])
def test_names_that_are_none(api: Api, name: Any) -> None:
    assert api.post(GROUPS, {"security_group": {"name": name, "description": ""}}).status_code == 400


def test_what_stands_beside_is_let_pass(api: Api) -> None:
    """As in Nova, in the body and in what it holds."""
    answer = api.post(GROUPS, {"security_group": {"name": "a", "description": "", "unknown": 1}, "unknown": 1})
    assert answer.status_code == 200, answer.text
    group_id = answer.json["security_group"]["id"]
    changed = api.put(f"{GROUPS}/{group_id}", {"security_group": {"name": "b", "description": ""}, "unknown": 1})
    assert (changed.status_code, changed.json["security_group"]["name"]) == (200, "b")
    rule = {"parent_group_id": group_id, "ip_protocol": "tcp", "from_port": 1, "to_port": 2, "cidr": "10.0.0.0/8"}
    assert api.post(RULES, {"security_group_rule": rule, "unknown": 1}).status_code == 200


def test_bad_groups(api: Api) -> None:
    assert api.post(GROUPS, {"security_group": {"name": "a", "description": "x" * 256}}).status_code == 400
    assert api.post(GROUPS, {"security_group": {"description": "a"}}).status_code == 400
    without = api.post(GROUPS, {"security_group": {"name": "a"}})
    assert without.json["badRequest"]["message"].endswith("'description' is a required property")
    assert api.post(GROUPS, {}).status_code == 400
    for path in ("x", "1", "../1"):
        assert api.get(f"{GROUPS}/{path}").status_code in (400, 404)
    assert api.get(f"{GROUPS}/{uuid.uuid4()}").status_code == 404
    assert api.delete(f"{GROUPS}/not-an-id").status_code == 400
    assert api.delete(f"{GROUPS}/").status_code == 404


def test_a_name_is_one_groups(api: Api, admin: Api) -> None:
    first, second = make(api, "first"), make(api, "second")
    again = api.post(GROUPS, {"security_group": {"name": "first", "description": ""}})
    assert again.status_code == 400
    assert "already exists" in message(again)
    body = {"security_group": {"name": "first", "description": ""}}
    assert api.put(f"{GROUPS}/{second['id']}", body).status_code == 400
    assert api.put(f"{GROUPS}/{first['id']}", body).status_code == 200
    assert make(admin, "first")["name"] == "first"
    assert api.post(GROUPS, {"security_group": {"name": "default", "description": ""}}).status_code == 400


def test_the_default_group_stays(api: Api) -> None:
    (group,) = api.get(GROUPS).json["security_groups"]
    refused = api.delete(f"{GROUPS}/{group['id']}")
    assert refused.status_code == 400
    body = {"security_group": {"name": "else", "description": ""}}
    assert api.put(f"{GROUPS}/{group['id']}", body).status_code == 400
    body["security_group"]["name"] = "default"
    assert api.put(f"{GROUPS}/{group['id']}", body).status_code == 200


def test_other_projects_groups(api: Api, admin: Api) -> None:
    group = make(api)
    stranger = api.become("member")
    body = {"security_group": {"name": "mine", "description": ""}}
    assert stranger.get(f"{GROUPS}/{group['id']}").status_code == 404
    assert stranger.put(f"{GROUPS}/{group['id']}", body).status_code == 404
    assert stranger.delete(f"{GROUPS}/{group['id']}").status_code == 404
    assert add_rule(stranger, group["id"]).status_code == 404
    assert add_rule(stranger, make(stranger)["id"], group_id=group["id"]).status_code == 404
    rule = add_rule(api, group["id"]).json["security_group_rule"]
    assert stranger.delete(f"{RULES}/{rule['id']}").status_code == 404
    assert admin.get(f"{GROUPS}/{group['id']}").status_code == 200


def test_readers_only_read(api: Api) -> None:
    group = make(api)
    reader = api.become("reader", project_id=api.project_id)
    assert reader.get(GROUPS).status_code == 200
    assert reader.get(f"{GROUPS}/{group['id']}").status_code == 200
    assert reader.post(GROUPS, {"security_group": {"name": "a", "description": ""}}).status_code == 403
    assert reader.delete(f"{GROUPS}/{group['id']}").status_code == 403
    assert add_rule(reader, group["id"]).status_code == 403
    assert reader.get(DEFAULTS).status_code == 403


def test_quota(api: Api) -> None:
    for number in range(9):  # and the default one
        make(api, f"group {number}")
    over = api.post(GROUPS, {"security_group": {"name": "one more", "description": ""}})
    assert over.status_code == 403
    assert "Quota exceeded" in message(over)
    assert api.get("/limits").json["limits"]["absolute"]["totalSecurityGroupsUsed"] == 10


def test_gone_from_2_36(api: Api) -> None:
    assert api.get(GROUPS, version="2.36").status_code in (404, 406)


# --- rules ---


def test_rules_come_and_go(api: Api) -> None:
    group = make(api)
    answer = add_rule(api, group["id"], from_port="443", to_port="443", cidr="10.2.3.124/24", unknown=1)
    assert answer.status_code == 200
    rule = answer.json["security_group_rule"]
    assert rule == {
        "id": rule["id"],
        "parent_group_id": group["id"],
        "ip_protocol": "tcp",
        "from_port": 443,
        "to_port": 443,
        "ip_range": {"cidr": "10.2.3.124/24"},
        "group": {},
    }
    assert api.get(f"{GROUPS}/{group['id']}").json["security_group"]["rules"] == [rule]
    gone = api.delete(f"{RULES}/{rule['id']}")
    assert (gone.status_code, gone.text) == (202, "")
    assert api.get(f"{GROUPS}/{group['id']}").json["security_group"]["rules"] == []
    assert api.delete(f"{RULES}/{rule['id']}").status_code == 404
    assert api.delete(f"{RULES}/x").status_code == 400


def test_rules_for_all_the_world_and_for_members(api: Api) -> None:
    group, source = make(api, "web"), make(api, "clients")
    world = add_rule(api, group["id"]).json["security_group_rule"]
    assert world["ip_range"] == {"cidr": "0.0.0.0/0"}
    members = add_rule(api, group["id"], group_id=source["id"]).json["security_group_rule"]
    assert (members["group"], members["ip_range"]) == ({"name": "clients", "tenant_id": api.project_id}, {})
    open_tcp = add_rule(api, group["id"], group_id=source["id"], from_port=None, to_port=None)
    assert (open_tcp.json["security_group_rule"]["from_port"], open_tcp.json["security_group_rule"]["to_port"]) == (
        1,
        65535,
    )
    everything = {"security_group_rule": {"parent_group_id": group["id"], "group_id": source["id"]}}
    assert api.post(RULES, everything).json["security_group_rule"]["ip_protocol"] is None
    ping = add_rule(api, group["id"], ip_protocol="ICMP", from_port=-1, to_port=-1).json["security_group_rule"]
    assert (ping["ip_protocol"], ping["from_port"], ping["to_port"]) == ("icmp", -1, -1)
    echo = add_rule(api, group["id"], ip_protocol="icmp", from_port=8, to_port=0).json["security_group_rule"]
    assert (echo["from_port"], echo["to_port"]) == (8, 0)
    api.delete(f"{GROUPS}/{source['id']}")
    left = api.get(f"{GROUPS}/{group['id']}").json["security_group"]["rules"]
    assert {rule["id"] for rule in left} == {world["id"], ping["id"], echo["id"]}


@pytest.mark.parametrize(
    ("rule", "says"),
    [
        ({"from_port": 22, "to_port": 21}, "Former value cannot be greater"),
        ({"from_port": 0}, "between 1-65535"),
        ({"to_port": 65536}, "between 1-65535"),
        ({"from_port": "a"}, "must be integers"),
        ({"from_port": True}, "must be integers"),
        ({"from_port": "9" * 40, "to_port": "9" * 40}, "must be integers"),
        ({"ip_protocol": "999"}, "Invalid IP protocol"),
        ({"ip_protocol": "gre"}, "Invalid IP protocol"),
        ({"ip_protocol": None}, "Not enough parameters"),
        ({"from_port": None}, "Not enough parameters"),
        ({"ip_protocol": "icmp", "from_port": 256, "to_port": 0}, "type:code must be valid"),
        ({"ip_protocol": "icmp", "from_port": "x", "to_port": 0}, "Type and Code must be integers"),
        ({"cidr": "10.0.0.0/33"}, "Invalid cidr"),
        ({"cidr": "10.0.0.0"}, "Invalid cidr"),
        ({"cidr": "10.0.0.0/0"}, "Bad prefix"),
        ({"cidr": "10.0.0.0/255.0.0.0"}, "Invalid cidr"),
        ({"cidr": "fe80::1%eth0/64"}, "Invalid cidr"),
    ],
)
def test_bad_rules(api: Api, rule: dict[str, Any], says: str) -> None:
    answer = add_rule(api, make(api)["id"], **rule)
    assert answer.status_code == 400
    assert says in message(answer)


def test_unknown_groups_in_rules(api: Api) -> None:
    assert add_rule(api, str(uuid.uuid4())).status_code == 404
    assert add_rule(api, "not an id").status_code == 400
    assert add_rule(api, make(api)["id"], group_id=str(uuid.uuid4())).status_code == 404


def test_a_rule_is_there_once(api: Api) -> None:
    group = make(api)["id"]
    assert add_rule(api, group).status_code == 200
    again = add_rule(api, group)
    assert again.status_code == 400
    assert message(again) == f"This rule already exists in group {group}"
    assert add_rule(api, group, cidr="10.0.0.0/8").status_code == 200
    assert add_rule(api, group, ip_protocol="udp").status_code == 200


def test_quota_of_rules(api: Api) -> None:
    group = make(api)["id"]
    for port in range(1, 21):
        assert add_rule(api, group, from_port=port, to_port=port).status_code == 200
    assert add_rule(api, group).status_code == 403


def test_hostile_rules(api: Api) -> None:
    group = make(api)["id"]
    for value in VALUES:
        for name in ("ip_protocol", "from_port", "to_port", "cidr", "group_id", "parent_group_id"):
            assert add_rule(api, group, **{name: value}).status_code < 500, (name, value)


# --- default rules ---


def test_default_rules(admin: Api, api: Api) -> None:
    body = {"ip_protocol": "TCP", "from_port": "80", "to_port": "80", "cidr": "10.10.10.0/24"}
    made = admin.post(DEFAULTS, {"security_group_default_rule": body})
    assert made.status_code == 200
    rule = made.json["security_group_default_rule"]
    assert rule == {
        "id": rule["id"],
        "ip_protocol": "TCP",
        "from_port": 80,
        "to_port": 80,
        "ip_range": {"cidr": "10.10.10.0/24"},
    }
    assert isinstance(rule["id"], int)
    assert admin.get(DEFAULTS).json == {"security_group_default_rules": [rule]}
    assert admin.get(f"{DEFAULTS}/{rule['id']}").json == {"security_group_default_rule": rule}
    assert admin.post(DEFAULTS, {"security_group_default_rule": body}).status_code == 409
    (group,) = api.get(GROUPS).json["security_groups"]
    assert [each["ip_protocol"] for each in group["rules"]] == [None, None, "tcp"]
    gone = admin.delete(f"{DEFAULTS}/{rule['id']}")
    assert (gone.status_code, gone.text) == (204, "")
    assert admin.get(f"{DEFAULTS}/{rule['id']}").status_code == 404
    assert admin.delete(f"{DEFAULTS}/{rule['id']}").status_code == 404
    assert admin.delete(f"{DEFAULTS}/x").status_code == 400
    assert api.post(DEFAULTS, {"security_group_default_rule": body}).status_code == 403


@pytest.mark.parametrize(
    "body",
    [
        {"from_port": 80, "to_port": 80},
        {"ip_protocol": "tcp"},
        {"ip_protocol": "x", "from_port": 80, "to_port": 80},
        {"ip_protocol": "tcp", "from_port": 81, "to_port": 80},
        {"ip_protocol": "tcp", "from_port": 80, "to_port": 80, "cidr": "x"},
        {"group_id": str(uuid.uuid4())},
    ],
)
def test_bad_default_rules(admin: Api, body: dict[str, Any]) -> None:
    assert admin.post(DEFAULTS, {"security_group_default_rule": body}).status_code == 400


# --- a server's ---


def test_groups_of_a_server(api: Api, make_server: MakeServer, network: str) -> None:
    server = make_server(network=network).uuid
    listed = api.get(f"/servers/{server}/os-security-groups").json["security_groups"]
    assert [group["name"] for group in listed] == ["default"]
    group = make(api)
    added = api.post(f"/servers/{server}/action", {"addSecurityGroup": {"name": "web"}})
    assert (added.status_code, added.text) == (202, "")
    names = [each["name"] for each in api.get(f"/servers/{server}/os-security-groups").json["security_groups"]]
    assert names == ["default", "web"]
    assert api.get(f"/servers/{server}").json["server"]["security_groups"] == [{"name": "default"}, {"name": "web"}]
    used = api.delete(f"{GROUPS}/{group['id']}")
    assert used.status_code == 400
    assert "in use" in message(used)
    assert api.delete(f"{V}/security-groups/{group['id']}").status_code == 409
    removed = api.post(f"/servers/{server}/action", {"removeSecurityGroup": {"name": group["id"]}})
    assert removed.status_code == 202
    assert api.delete(f"{GROUPS}/{group['id']}").status_code == 202
    log = [item["action"] for item in api.get(f"/servers/{server}/os-instance-actions").json["instanceActions"]]
    assert sorted(log) == ["addSecurityGroup", "removeSecurityGroup"]


def test_bad_group_actions(api: Api, make_server: MakeServer, network: str) -> None:
    server = make_server(network=network).uuid
    bare = make_server().uuid
    group = make(api)

    def act(which: str, name: Any, asker: Api = api, target: str = server) -> Any:
        return asker.post(f"/servers/{target}/action", {which: {"name": name}})

    for which in ("addSecurityGroup", "removeSecurityGroup"):
        assert act(which, "unknown").status_code == 404
        assert act(which, "").status_code == 400
        assert act(which, " ").status_code == 400
        assert act(which, 1).status_code == 400
        assert act(which, "web", target=bare).status_code == 404
        assert act(which, "web", asker=api.become("member")).status_code == 404
        assert act(which, "web", asker=api.become("reader", project_id=api.project_id)).status_code == 403
    assert act("removeSecurityGroup", "web").status_code == 404
    api.post(f"{V}/security-groups", {"security_group": {"name": "web"}})
    assert act("addSecurityGroup", "web").status_code == 409
    assert act("addSecurityGroup", group["id"]).status_code == 202
    assert act("addSecurityGroup", group["id"]).status_code == 202


def test_groups_from_the_start(api: Api, boot: Boot) -> None:
    group = make(api)
    server = boot(security_groups=[{"name": "web"}])
    listed = api.get(f"/servers/{server}/os-security-groups").json["security_groups"]
    assert [each["id"] for each in listed] == [group["id"]]
    port = api.get(f"{V}/ports?device_id={server}").json["ports"][0]
    assert port["security_groups"] == [group["id"]]
    by_id = boot(security_groups=[{"name": group["id"]}, {"name": "default"}])
    assert api.get(f"/servers/{by_id}").json["server"]["security_groups"] == [{"name": "default"}, {"name": "web"}]
    for each in (server, by_id):
        api.delete(f"/servers/{each}")


def test_a_deleted_server_needs_no_group(api: Api, boot: Boot, compute: Any) -> None:
    group = make(api)
    server = boot(security_groups=[{"name": "web"}])
    assert api.delete(f"{GROUPS}/{group['id']}").status_code == 400
    api.delete(f"/servers/{server}")
    compute.work()
    assert api.delete(f"{GROUPS}/{group['id']}").status_code == 202


def test_unknown_groups_at_the_start(api: Api, body: dict[str, Any], network: str, host: str) -> None:
    answer = api.post("/servers", {"server": {**body, "security_groups": [{"name": "unknown"}]}})
    assert answer.status_code == 400
    assert "unknown" in message(answer)
    for _ in range(2):
        api.post(f"{V}/security-groups", {"security_group": {"name": "twice"}})
    assert api.post("/servers", {"server": {**body, "security_groups": [{"name": "twice"}]}}).status_code == 409
