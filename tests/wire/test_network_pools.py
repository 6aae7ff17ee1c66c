# SPDX-License-Identifier: Apache-2.0
"""The Networking API: subnet pools, the subnets that are cut from them, address scopes."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from computeapi.app import create_app
from computeapi.backends.identity.tokens import TokenCodec
from computeapi.db.engine import Database
from computeapi.settings import Settings
from tests.conftest import Api
from tests.wire.test_network_changes import V, made, network, refused

POOLS, SCOPES = f"{V}/subnetpools", f"{V}/address-scopes"
PREFIX = "10.100.0.0/24"


def pool(api: Api, prefixes: list[str] | None = None, **body: Any) -> dict[str, Any]:
    answer = api.post(POOLS, {"subnetpool": {"name": "pool", "prefixes": prefixes or [PREFIX], **body}})
    return made(answer, "subnetpool")


def scope(api: Api, **body: Any) -> dict[str, Any]:
    return made(api.post(SCOPES, {"address_scope": {"ip_version": 4, **body}}), "address_scope")


def cut(api: Api, network_id: str | None = None, **body: Any) -> Any:
    network_id = network_id or network(api)["id"]
    return api.post(f"{V}/subnets", {"subnet": {"network_id": network_id, "ip_version": 4, **body}})


def cidr(answer: Any) -> str:
    return str(made(answer, "subnet")["cidr"])


# --- pools ---


def test_pool_life(api: Api) -> None:
    one = pool(api, ["10.101.0.0/24", "10.100.1.0/24", PREFIX], default_prefixlen=26, description="d")
    assert one["prefixes"] == ["10.100.0.0/23", "10.101.0.0/24"]
    lengths = [one[f"{word}_prefixlen"] for word in ("min", "default", "max")]
    assert (lengths, one["ip_version"], one["default_quota"]) == (["8", "26", "32"], 4, None)
    assert (one["shared"], one["is_default"], one["address_scope_id"]) == (False, False, None)
    path = f"{POOLS}/{one['id']}"
    wider = {"name": "other", "prefixes": ["10.100.0.0/22", "10.101.0.0/24"], "max_prefixlen": 28}
    changed = api.put(path, {"subnetpool": wider}).json["subnetpool"]
    assert (changed["name"], changed["prefixes"], changed["max_prefixlen"]) == ("other", wider["prefixes"], "28")
    assert (changed["default_prefixlen"], changed["revision_number"]) == ("26", 2)
    assert api.get(path).json["subnetpool"] == changed
    for query, count in (("name=other", 1), ("name=pool", 0), ("ip_version=4", 1), ("shared=True", 0)):
        assert len(api.get(f"{POOLS}?{query}").json["subnetpools"]) == count, query
    assert api.put(f"{path}/tags", {"tags": ["b", "a"]}).json == {"tags": ["a", "b"]}
    assert api.delete(path).status_code == 204
    refused(api.get(path), 404, "SubnetPoolNotFound")


def test_pool_of_ipv6(api: Api) -> None:
    one = pool(api, ["fd00::/48"], default_quota=2)
    assert [one[f"{word}_prefixlen"] for word in ("min", "default", "max")] == ["64", "64", "128"]
    wanted = {"subnetpool_id": one["id"], "ip_version": 6}
    assert [cidr(cut(api, **wanted)) for _ in range(2)] == ["fd00::/64", "fd00:0:0:1::/64"]
    refused(cut(api, **wanted), 409, "SubnetPoolQuotaExceeded")


@pytest.mark.parametrize(
    ("body", "kind"),
    [
        ({"prefixes": []}, "EmptySubnetPoolPrefixList"),
        ({"prefixes": [PREFIX, "fd00::/48"]}, "PrefixVersionMismatch"),
        ({"prefixes": ["x"]}, "HTTPBadRequest"),
        ({"prefixes": "10.0.0.0/8"}, "HTTPBadRequest"),
        ({"min_prefixlen": 25, "max_prefixlen": 24}, "IllegalSubnetPoolPrefixBounds"),
        ({"max_prefixlen": 33}, "IllegalSubnetPoolPrefixBounds"),
        ({"default_prefixlen": 7}, "IllegalSubnetPoolPrefixBounds"),
        ({"default_prefixlen": 29, "max_prefixlen": 28}, "IllegalSubnetPoolPrefixBounds"),
        ({"min_prefixlen": -1}, "HTTPBadRequest"),
        ({"min_prefixlen": None}, "HTTPBadRequest"),
        ({"default_quota": "x"}, "HTTPBadRequest"),
        ({"ip_version": 4}, "HTTPBadRequest"),
        ({"address_scope_id": "x"}, "HTTPBadRequest"),
    ],
)
def test_pool_refused(api: Api, body: dict[str, Any], kind: str) -> None:
    refused(api.post(POOLS, {"subnetpool": {"prefixes": [PREFIX], **body}}), 400, kind)


def test_pool_without_prefixes(api: Api) -> None:
    refused(api.post(POOLS, {"subnetpool": {"name": "pool"}}), 400, "HTTPBadRequest")


def test_what_was_a_prefix_stays_one(api: Api) -> None:
    path = f"{POOLS}/{pool(api)['id']}"
    for prefixes in (["10.100.0.0/25"], ["10.200.0.0/24"], ["fd00::/48"]):
        refused(api.put(path, {"subnetpool": {"prefixes": prefixes}}), 400, "IllegalSubnetPoolPrefixUpdate")
    refused(api.put(path, {"subnetpool": {"shared": True}}), 400, "HTTPBadRequest")
    refused(api.put(path, {"subnetpool": {"default_prefixlen": 33}}), 400, "IllegalSubnetPoolPrefixBounds")


def test_whose_a_pool_is(api: Api, admin: Api) -> None:
    own, reader, other = pool(api), api.become("reader", project_id=api.project_id), api.become("member")
    path = f"{POOLS}/{own['id']}"
    for answer in (other.get(path), other.put(path, {"subnetpool": {}}), other.delete(path)):
        refused(answer, 404, "SubnetPoolNotFound")
    refused(cut(other, subnetpool_id=own["id"]), 404, "SubnetPoolNotFound")
    assert reader.get(path).status_code == 200
    assert reader.delete(path).status_code == 403
    for body in ({"shared": True}, {"is_default": True}):
        refused(api.post(POOLS, {"subnetpool": {"prefixes": [PREFIX], **body}}), 403, "PolicyNotAuthorized")
    everybodys = pool(admin, ["10.102.0.0/24"], shared=True)
    assert [item["id"] for item in other.get(POOLS).json["subnetpools"]] == [everybodys["id"]]
    refused(other.delete(f"{POOLS}/{everybodys['id']}"), 403, "PolicyNotAuthorized")
    assert cidr(cut(other, subnetpool_id=everybodys["id"], prefixlen=25)) == "10.102.0.0/25"


def test_pool_quota(api: Api, admin: Api) -> None:
    path = f"{V}/quotas/{api.project_id}"
    assert api.get(path).json["quota"]["subnetpool"] == -1
    admin.put(path, {"quota": {"subnetpool": 1}})
    pool(api)
    refused(api.post(POOLS, {"subnetpool": {"prefixes": [PREFIX]}}), 409, "OverQuota")


# --- subnets out of them ---


def test_subnets_are_cut_from_a_pool(api: Api) -> None:
    one = pool(api, default_prefixlen=26)
    wanted = {"subnetpool_id": one["id"]}
    first = made(cut(api, **wanted, prefixlen=28), "subnet")
    assert (first["cidr"], first["gateway_ip"], first["subnetpool_id"]) == ("10.100.0.0/28", "10.100.0.1", one["id"])
    assert cidr(cut(api, **wanted)) == "10.100.0.64/26"
    assert cidr(cut(api, **wanted, prefixlen=28)) == "10.100.0.16/28"  # the smallest block that it fits in
    assert cidr(cut(api, **wanted, cidr="10.100.0.128/27")) == "10.100.0.128/27"
    refused(cut(api, **wanted, cidr="10.100.0.128/28"), 409, "SubnetAllocationError")
    refused(cut(api, **wanted, cidr="10.200.0.0/28"), 409, "SubnetAllocationError")
    refused(cut(api, **wanted, prefixlen=25), 409, "SubnetAllocationError")
    listed = api.get(f"{V}/subnets?subnetpool_id={one['id']}").json["subnets"]
    assert len(listed) == 4
    path = f"{POOLS}/{one['id']}"
    refused(api.delete(path), 400, "SubnetPoolDeleteError")
    for item in listed:
        assert api.delete(f"{V}/subnets/{item['id']}").status_code == 204
    assert cidr(again := cut(api, **wanted, prefixlen=25)) == "10.100.0.0/25"
    assert api.delete(f"{V}/networks/{again.json['subnet']['network_id']}").status_code == 204
    assert api.delete(path).status_code == 204


@pytest.mark.parametrize(
    ("body", "kind"),
    [
        ({"prefixlen": 23}, "MinPrefixSubnetAllocationError"),
        ({"prefixlen": 29}, "MaxPrefixSubnetAllocationError"),
        ({"cidr": "10.100.0.0/29"}, "MaxPrefixSubnetAllocationError"),
        ({"cidr": "10.100.0.0/28", "prefixlen": 28}, "BadRequest"),
        ({"allocation_pools": [{"start": "10.100.0.4", "end": "10.100.0.5"}]}, "BadRequest"),
        ({"ip_version": 6}, "BadRequest"),
        ({"use_default_subnetpool": True}, "BadRequest"),
    ],
)
def test_cut_refused(api: Api, body: dict[str, Any], kind: str) -> None:
    one = pool(api, min_prefixlen=24, max_prefixlen=28)
    refused(cut(api, **{"subnetpool_id": one["id"], **body}), 400, kind)


def test_what_a_project_may_have_of_a_pool(api: Api, admin: Api) -> None:
    one = pool(admin, shared=True, default_quota=32)
    wanted = {"subnetpool_id": one["id"], "prefixlen": 28}
    assert [cidr(cut(api, **wanted)) for _ in range(2)] == ["10.100.0.0/28", "10.100.0.16/28"]
    refused(cut(api, **wanted), 409, "SubnetPoolQuotaExceeded")
    assert cidr(cut(api.become("member"), **wanted)) == "10.100.0.32/28"


def test_the_default_pool(api: Api, admin: Api) -> None:
    wanted = {"use_default_subnetpool": True}
    refused(cut(api, **wanted), 400, "BadRequest")
    one = pool(admin, is_default=True, default_prefixlen=28)
    assert made(cut(api, **wanted), "subnet")["subnetpool_id"] == one["id"]
    refused(admin.post(POOLS, {"subnetpool": {"prefixes": [PREFIX], "is_default": True}}), 400, "InvalidInput")
    refused(cut(api, **wanted, ip_version=6), 400, "BadRequest")
    other = f"{POOLS}/{pool(admin, ['10.101.0.0/24'])['id']}"
    refused(admin.put(other, {"subnetpool": {"is_default": True}}), 400, "InvalidInput")
    admin.put(f"{POOLS}/{one['id']}", {"subnetpool": {"is_default": False}})
    assert admin.put(other, {"subnetpool": {"is_default": True}}).json["subnetpool"]["is_default"] is True


def test_a_networks_subnets_are_of_one_pool(api: Api) -> None:
    net, one, two = network(api)["id"], pool(api), pool(api, ["10.101.0.0/24"])
    cut(api, net, subnetpool_id=one["id"], prefixlen=28)
    assert cidr(cut(api, net, subnetpool_id=one["id"], prefixlen=28)) == "10.100.0.16/28"
    refused(cut(api, net, subnetpool_id=two["id"], prefixlen=28), 400, "NetworkSubnetPoolAffinityError")
    refused(cut(api, net, cidr="10.9.0.0/24"), 400, "NetworkSubnetPoolAffinityError")
    assert cidr(cut(api, net, cidr="fd00:9::/64", ip_version=6)) == "fd00:9::/64"


def test_what_hosts_are_the_gateway_of_is_not_cut(settings: Settings, db: Database, api: Api) -> None:
    strict = create_app(replace(settings, hypervisor="libvirt"), db=db)
    owner = Api(strict, TokenCodec(settings.secret("tokens")), ("member",), api.project_id, api.user_id)
    assert cidr(cut(owner, cidr="10.100.0.0/25")) == "10.100.0.0/25"
    one = pool(owner, default_prefixlen=25)
    assert cidr(cut(owner, subnetpool_id=one["id"])) == "10.100.0.128/25"
    refused(cut(owner, subnetpool_id=one["id"], cidr="10.100.0.0/25"), 400, "InvalidInput")


# --- address scopes ---


def test_scope_life(api: Api) -> None:
    one = scope(api, name="scope", ip_version="6")
    assert one == {
        "id": one["id"],
        "name": "scope",
        "ip_version": 6,
        "shared": False,
        "project_id": api.project_id,
        "tenant_id": api.project_id,
    }
    path = f"{SCOPES}/{one['id']}"
    assert api.put(path, {"address_scope": {"name": "other"}}).json["address_scope"]["name"] == "other"
    assert [item["name"] for item in api.get(f"{SCOPES}?ip_version=6").json["address_scopes"]] == ["other"]
    assert api.get(f"{SCOPES}?ip_version=4").json["address_scopes"] == []
    assert api.put(path, {"address_scope": {}}).json == api.get(path).json
    assert api.delete(path).status_code == 204
    refused(api.get(path), 404, "AddressScopeNotFound")


@pytest.mark.parametrize("body", [{}, {"ip_version": 5}, {"ip_version": 4, "description": "d"}, {"ip_version": None}])
def test_scope_refused(api: Api, body: dict[str, Any]) -> None:
    refused(api.post(SCOPES, {"address_scope": body}), 400, "HTTPBadRequest")


def test_whose_a_scope_is(api: Api, admin: Api) -> None:
    own, other = scope(api), api.become("member")
    path = f"{SCOPES}/{own['id']}"
    refused(other.get(path), 404, "AddressScopeNotFound")
    refused(api.put(path, {"address_scope": {"shared": True}}), 403, "PolicyNotAuthorized")
    refused(api.post(SCOPES, {"address_scope": {"ip_version": 4, "shared": True}}), 403, "PolicyNotAuthorized")
    assert api.become("reader", project_id=api.project_id).put(path, {"address_scope": {}}).status_code == 403
    body = {"subnetpool": {"prefixes": [PREFIX], "address_scope_id": own["id"]}}
    refused(other.post(POOLS, body), 404, "AddressScopeNotFound")
    assert admin.put(path, {"address_scope": {"shared": True}}).json["address_scope"]["shared"] is True
    refused(admin.put(path, {"address_scope": {"shared": False}}), 400, "AddressScopeUpdateError")
    theirs = made(other.post(POOLS, body), "subnetpool")
    change = {"subnetpool": {"name": "n"}}
    refused(other.put(f"{POOLS}/{theirs['id']}", change), 400, "IllegalSubnetPoolUpdate")
    assert admin.put(f"{POOLS}/{theirs['id']}", change).status_code == 200
    refused(other.delete(path), 403, "PolicyNotAuthorized")
    refused(api.delete(path), 409, "AddressScopeInUse")


def test_pools_of_a_scope_share_no_address(api: Api) -> None:
    one = scope(api)
    where = {"address_scope_id": one["id"]}
    first = pool(api, **where)
    for prefixes, status, kind in (
        (["10.100.0.0/16"], 409, "AddressScopePrefixConflict"),
        (["fd00::/48"], 400, "IllegalSubnetPoolIpVersionAssociationToAddressScope"),
    ):
        refused(api.post(POOLS, {"subnetpool": {"prefixes": prefixes, **where}}), status, kind)
    second = pool(api, ["10.101.0.0/24"], **where)
    change = {"subnetpool": {"prefixes": ["10.100.0.0/24", "10.101.0.0/24"]}}
    refused(api.put(f"{POOLS}/{second['id']}", change), 409, "AddressScopePrefixConflict")
    assert [item["id"] for item in api.get(f"{POOLS}?address_scope_id={one['id']}").json["subnetpools"]] == [
        first["id"],
        second["id"],
    ]


def test_a_networks_subnets_are_of_one_scope(api: Api) -> None:
    net, one = network(api)["id"], scope(api)
    where = {"address_scope_id": one["id"]}
    first, second, third = pool(api, **where), pool(api, ["10.101.0.0/24"], **where), pool(api, ["10.102.0.0/24"])
    for each in (first, second):
        made(cut(api, net, subnetpool_id=each["id"], prefixlen=28), "subnet")
    refused(cut(api, net, subnetpool_id=third["id"], prefixlen=28), 400, "NetworkAddressScopeAffinityError")
    shown = api.get(f"{V}/networks/{net}").json["network"]
    assert (shown["ipv4_address_scope"], shown["ipv6_address_scope"]) == (one["id"], None)
    elsewhere = {"subnetpool": {"address_scope_id": scope(api)["id"]}}
    refused(api.put(f"{POOLS}/{first['id']}", elsewhere), 400, "NetworkAddressScopeAffinityError")
    assert api.put(f"{POOLS}/{third['id']}", elsewhere).status_code == 200
    nowhere = {"subnetpool": {"address_scope_id": None}}
    assert api.put(f"{POOLS}/{third['id']}", nowhere).json["subnetpool"]["address_scope_id"] is None
