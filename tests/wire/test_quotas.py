# SPDX-License-Identifier: Apache-2.0
"""os-quota-sets and os-quota-class-sets, and that their limits hold."""

from __future__ import annotations

import uuid
from typing import Any

import pytest

from computeapi.db.engine import Database
from computeapi.db.queries import quotas
from computeapi.settings import Settings
from tests.conftest import Api
from tests.wire.conftest import MakeServer
from tests.wire.creating import create, refusal
from tests.wire.operating import NOBODY, add_project, for_admins_only, refused

DEFAULTS = {
    "cores": 20,
    "fixed_ips": -1,
    "floating_ips": 10,
    "injected_file_content_bytes": 10240,
    "injected_file_path_bytes": 255,
    "injected_files": 5,
    "instances": 10,
    "key_pairs": 100,
    "metadata_items": 128,
    "ram": 51200,
    "security_group_rules": 20,
    "security_groups": 10,
    "server_groups": 10,
    "server_group_members": 10,
}
CLASS = {name: most for name, most in DEFAULTS.items() if not name.startswith("server_group")}


@pytest.fixture
def path(api: Api, db: Database) -> str:
    """The quota set of `api`'s project."""
    return f"/os-quota-sets/{add_project(db, api.project_id)}"


def limits(api: Api, path: str) -> Any:
    answer = api.get(path)
    assert answer.status_code == 200, answer.text
    return answer.json["quota_set"]


def put(admin: Api, path: str, **wanted: Any) -> Any:
    answer = admin.put(path, {"quota_set": wanted})
    assert answer.status_code == 200, answer.text
    return answer.json["quota_set"]


def test_show(api: Api, admin: Api, path: str) -> None:
    shown = {"id": api.project_id, **DEFAULTS}
    for each in (path, path + "/defaults", path + "?user_id=somebody", "/os-quota-sets", "/os-quota-sets/"):
        assert limits(api, each) == shown
    assert limits(api, "/os-quota-sets/defaults") == shown
    assert limits(admin, path) == shown
    assert limits(api, f"/v2{path}") == limits(api, f"/v2.1/{api.project_id}{path}") == shown


def test_update(api: Api, admin: Api, path: str) -> None:
    assert put(admin, path, instances=45, cores="7", ram="-1") == {**DEFAULTS, "instances": 45, "cores": 7, "ram": -1}
    assert put(admin, path, instances=44, server_groups=0)["instances"] == 44
    changed = {**DEFAULTS, "instances": 44, "cores": 7, "ram": -1, "server_groups": 0}
    assert limits(api, path) == {"id": api.project_id, **changed}
    assert limits(api, path + "/defaults") == {"id": api.project_id, **DEFAULTS}
    assert limits(admin, "/os-quota-sets") == {"id": admin.project_id, **DEFAULTS}
    absolute = api.get("/limits").json["limits"]["absolute"]
    assert (absolute["maxTotalInstances"], absolute["maxTotalCores"]) == (44, 7)
    assert put(admin, path) == changed


@pytest.mark.parametrize("own", ["/os-quota-sets", "/os-quota-sets/"])
def test_the_tokens_own_project(admin: Api, own: str) -> None:
    assert put(admin, own, force="True", instances=45)["instances"] == 45
    assert put(admin, own, security_groups=45) == {**DEFAULTS, "instances": 45, "security_groups": 45}
    assert put(admin, own + "?user_id=u1", force="True", instances=9)["instances"] == 9
    assert limits(admin, own)["instances"] == 45
    detail = limits(admin, "/os-quota-sets/detail")
    assert detail["instances"] == {"limit": 45, "in_use": 0, "reserved": 0}
    answer = admin.delete(own + "?user_id=u1")
    assert (answer.status_code, answer.text) == (204, "")
    assert limits(admin, own + "?user_id=u1")["instances"] == 45
    assert admin.delete(own).status_code == 204
    assert limits(admin, own) == {"id": admin.project_id, **DEFAULTS}


def test_delete(api: Api, admin: Api, path: str) -> None:
    other = admin.become("admin")
    put(other, "/os-quota-sets", cores=1)
    put(admin, path, cores=3)
    put(admin, path + "?user_id=u1", cores=2)
    put(admin, path + "?user_id=u2", cores=1)
    assert admin.delete(path + "?user_id=u1").status_code == 202
    assert [limits(api, path + query)["cores"] for query in ("", "?user_id=u1", "?user_id=u2")] == [3, 3, 1]
    answer = admin.delete(path)
    assert (answer.status_code, answer.text) == (202, "")
    assert [limits(api, path + query)["cores"] for query in ("", "?user_id=u1", "?user_id=u2")] == [20, 20, 20]
    assert limits(other, "/os-quota-sets")["cores"] == 1
    assert admin.delete("/os-quota-sets/nobody").status_code == 202


def test_detail(api: Api, path: str, make_server: MakeServer) -> None:
    make_server(vcpus=2)
    make_server(vcpus=3, user_id="u1")
    make_server(deleted=1)
    make_server(vm_state="soft-delete")
    found = limits(api, path + "/detail")
    assert found.pop("id") == api.project_id
    assert set(found) == set(DEFAULTS)
    assert found["instances"] == {"limit": 10, "in_use": 2, "reserved": 0}
    assert found["cores"] == {"limit": 20, "in_use": 5, "reserved": 0}
    assert found["ram"] == {"limit": 51200, "in_use": 1024, "reserved": 0}
    assert found["key_pairs"] == {"limit": 100, "in_use": 0, "reserved": 0}
    assert limits(api, path + "/detail?user_id=u1")["cores"] == {"limit": 20, "in_use": 3, "reserved": 0}


def test_below_what_is_used(api: Api, admin: Api, path: str, make_server: MakeServer) -> None:
    make_server(vcpus=2)
    make_server(vcpus=2, user_id="u1")
    answer = admin.put(path, {"quota_set": {"cores": 3, "ram": 5000}})
    assert refused(answer, 400) == (
        "Quota limit 3 for cores must be greater than or equal to already used and reserved 4."
    )
    assert limits(api, path)["ram"] == 51200  # all or nothing
    assert put(admin, path, cores=4)["cores"] == 4
    assert put(admin, path, cores=-1)["cores"] == -1
    assert put(admin, path, cores=0, force=True)["cores"] == 0
    assert put(admin, path, cores=10, force="on")["cores"] == 10
    assert "must be greater than" in refused(admin.put(path + "?user_id=u1", {"quota_set": {"cores": 1}}), 400)
    assert put(admin, path + "?user_id=u1", cores=2)["cores"] == 2


def test_a_users_limit_is_not_beyond_the_projects(admin: Api, path: str) -> None:
    user = path + "?user_id=u1"
    for beyond in (21, -1):
        assert refused(admin.put(user, {"quota_set": {"cores": beyond}}), 400) == (
            f"Quota limit {beyond} for cores must be less than or equal to 20."
        )
    assert put(admin, user, cores=20, fixed_ips=-1)["cores"] == 20
    assert put(admin, user, cores=30, force=True)["cores"] == 30
    put(admin, user, floating_ips=3)  # there is one limit of these for all of a project
    assert limits(admin, path)["floating_ips"] == 3


@pytest.mark.parametrize(
    "wanted",
    [
        {"cores": -2},
        {"cores": "-2"},
        {"cores": 2**31},
        {"cores": str(2**31)},
        {"cores": "9" * 30},
        {"cores": "9" * 5000},
        {"cores": "-" + "9" * 40},
        {"cores": 10**30},
        {"cores": 1.5},
        {"cores": "x"},
        {"cores": ""},
        {"cores": None},
        {"cores": True},
        {"cores": [1]},
        {"cores": "1 "},
        {"force": "perhaps"},
        {"networks": 3},
        {"unknown": 3},
        {"id": "x"},
        None,
        [],
    ],
)
def test_bad_limits(admin: Api, path: str, wanted: Any) -> None:
    for url in (path, "/os-quota-sets", "/os-quota-class-sets/default"):
        key = "quota_class_set" if "class" in url else "quota_set"
        refused(admin.put(url, {key: wanted}), 400)


def test_bad_bodies(admin: Api, path: str) -> None:
    bodies: list[Any] = [{}, {"quota_set": {}, "extra": 1}, [], {"quota_class_set": {}}]
    for body in bodies:
        refused(admin.put(path, body), 400)
    assert admin.put(f"/v2{path}", {"quota_set": {"cores": 5, "unknown": 1}}).status_code == 200
    assert limits(admin, path)["cores"] == 5


def test_unknown_projects(admin: Api) -> None:
    for nobody in ("nobody", "%25", "é", "x" * 300):
        for url in (f"/os-quota-sets/{nobody}", f"/os-quota-sets/{nobody}/detail", f"/os-quota-sets/{nobody}/defaults"):
            assert refused(admin.get(url), 400).endswith(" is not a valid project.")
        refused(admin.put(f"/os-quota-sets/{nobody}", {"quota_set": {"cores": 1}}), 400)
    refused(admin.get("/os-quota-sets?user_id=" + "x" * 300), 400)
    refused(admin.get("/os-quota-sets?user_id=%00"), 400)


def test_who_may(api: Api, path: str) -> None:
    for_admins_only(api, "PUT", path, {"quota_set": {}})
    for_admins_only(api, "DELETE", path)
    for_admins_only(api, "PUT", "/os-quota-sets", {"quota_set": {}})
    for_admins_only(api, "DELETE", "/os-quota-sets")
    for_admins_only(api, "GET", "/os-quota-class-sets/default")
    for_admins_only(api, "PUT", "/os-quota-class-sets/default", {"quota_class_set": {}})
    for role in NOBODY:
        mine = api.become(role, project_id=api.project_id)
        other = api.become(role)
        for url in (path, path + "/detail"):
            assert mine.get(url).status_code == 200
            assert other.get(url).status_code == 403
        assert other.get(path + "/defaults").status_code == 200


# --- classes ---


def test_class(api: Api, admin: Api, path: str) -> None:
    url = "/os-quota-class-sets/default"
    assert admin.get(url).json == {"quota_class_set": {"id": "default", **CLASS}}
    answer = admin.put(url, {"quota_class_set": {"instances": 50, "cores": "50", "server_groups": 3}})
    assert (answer.status_code, answer.json) == (200, {"quota_class_set": {**CLASS, "instances": 50, "cores": 50}})
    assert admin.put(url, {"quota_class_set": {"instances": 51}}).json["quota_class_set"]["cores"] == 50
    assert admin.get(url).json["quota_class_set"]["instances"] == 51
    changed = {**DEFAULTS, "instances": 51, "cores": 50, "server_groups": 3}
    assert limits(api, path) == limits(api, path + "/defaults") == {"id": api.project_id, **changed}
    put(admin, path, cores=4)
    assert limits(api, path)["cores"] == 4


def test_other_classes(admin: Api) -> None:
    url = "/os-quota-class-sets/Gold%20%C3%A9"
    assert admin.put(url, {"quota_class_set": {"cores": 7}}).status_code == 200
    assert admin.get(url).json == {"quota_class_set": {"id": "Gold é", **CLASS, "cores": 7}}
    assert limits(admin, "/os-quota-sets")["cores"] == 20
    refused(admin.put("/os-quota-class-sets/" + "x" * 256, {"quota_class_set": {}}), 400)
    assert admin.put("/os-quota-class-sets/x", {"quota_class_set": {}}).status_code == 200


# --- the limits hold ---


def test_a_projects_limit_holds(api: Api, admin: Api, path: str, host: str, body: dict[str, Any]) -> None:
    put(admin, path, instances=1)
    create(api, body)
    message = "Quota exceeded for instances: Requested 1, but already used 1 of 1 instances"
    assert refusal(api, body, 403) == message
    colleague = api.become("member", project_id=api.project_id)
    assert refusal(colleague, body, 403) == message
    put(admin, path, instances=2)
    create(colleague, body)


def test_a_users_limit_holds(api: Api, admin: Api, path: str, host: str, body: dict[str, Any]) -> None:
    put(admin, f"{path}?user_id={api.user_id}", cores=1)
    colleague = api.become("member", project_id=api.project_id)
    for _ in range(2):
        create(colleague, body)
    create(api, body)  # what others of the project have does not count against the user's own
    assert refusal(api, body, 403) == "Quota exceeded for cores: Requested 1, but already used 1 of 1 cores"
    put(admin, path, instances=3)
    assert refusal(colleague, body, 403) == (
        "Quota exceeded for instances: Requested 1, but already used 3 of 3 instances"
    )


def test_ranks(db: Database, settings: Settings) -> None:
    project, user = uuid.uuid4().hex, uuid.uuid4().hex
    with db.write() as conn:
        assert quotas.limits_for(conn, settings, project, user)["cores"] == 20
        quotas.set_class_limits(conn, "default", {"cores": 4})
        assert quotas.limits_for(conn, settings, project, user)["cores"] == 4
        quotas.set_limits(conn, project, None, {"cores": 3})
        assert quotas.limits_for(conn, settings, project, user)["cores"] == 3
        quotas.set_limits(conn, project, user, {"cores": 2})
        assert quotas.limits_for(conn, settings, project, user)["cores"] == 2
        assert quotas.limits_for(conn, settings, project)["cores"] == 3
        assert len(quotas.accounts(conn, settings, project, user)) == 2
        assert len(quotas.accounts(conn, settings, project, "")) == 1


# --- the networks' family: what was said through one API holds in the other ---

V = "/network/v2.0"


def over(answer: Any) -> bool:
    """Whether the Networking API says that it is too much."""
    return bool(answer.status_code == 409 and answer.json["NeutronError"]["type"] == "OverQuota")


def set_network_quota(admin: Api, api: Api, **wanted: int) -> None:
    """The Networking API's limits of `api`'s project."""
    assert admin.put(f"{V}/quotas/{api.project_id}", {"quota": wanted}).status_code == 200


def test_fixed_ips_of_servers(api: Api, admin: Api, path: str, host: str, network: str, body: dict[str, Any]) -> None:
    put(admin, path, fixed_ips=2)
    create(api, body)
    assert refusal(api, {**body, "min_count": 2, "max_count": 2}, 403) == "Maximum number of fixed IPs exceeded"
    assert len(api.get(f"{V}/ports").json["ports"]) == 1, "nothing is left of those that were refused"
    create(api, body)
    assert refusal(api, body, 403) == "Maximum number of fixed IPs exceeded"
    put(admin, path, fixed_ips=-1)
    create(api, body)


def test_networks_of_both_apis(api: Api, admin: Api) -> None:
    """os-quota-sets does not say this one, as Nova's did not."""
    set_network_quota(admin, api, network=1)
    assert api.post(f"{V}/networks", {"network": {"name": "first"}}).status_code == 201
    assert over(api.post(f"{V}/networks", {"network": {"name": "second"}}))
    answer = api.post("/os-tenant-networks", {"network": {"label": "second", "cidr": "10.9.0.0/24"}})
    assert (answer.status_code, answer.json["badRequest"]["message"]) == (400, "Quota exceeded, too many networks.")
    assert len(api.get(f"{V}/networks").json["networks"]) == 1


@pytest.mark.parametrize("said", ["compute", "network"])
def test_floating_ips_of_both_apis(api: Api, admin: Api, path: str, said: str) -> None:
    assert admin.post("/os-floating-ips-bulk", {"floating_ips_bulk_create": {"ip_range": "192.168.1.0/28"}}).status_code
    external = api.get(f"{V}/networks?router:external=true").json["networks"][0]["id"]
    if said == "compute":
        put(admin, path, floating_ips=1)
    else:
        set_network_quota(admin, api, floatingip=1)
    body = {"floatingip": {"floating_network_id": external}}
    assert api.post(f"{V}/floatingips", body).status_code == 201
    assert over(api.post(f"{V}/floatingips", body))
    answer = api.post("/os-floating-ips", {"pool": "nova"})
    message = answer.json["forbidden"]["message"]
    assert (answer.status_code, message) == (403, "IP allocation over quota in pool nova.")


@pytest.mark.parametrize("said", ["compute", "network"])
def test_security_groups_of_both_apis(api: Api, admin: Api, path: str, said: str) -> None:
    if said == "compute":
        put(admin, path, security_groups=2)
    else:
        set_network_quota(admin, api, security_group=2)
    group = {"name": "web", "description": ""}
    assert api.post("/os-security-groups", {"security_group": group}).status_code == 200  # beside the default one
    assert over(api.post(f"{V}/security-groups", {"security_group": {"name": "more"}}))
    answer = api.post("/os-security-groups", {"security_group": {**group, "name": "more"}})
    message = answer.json["forbidden"]["message"]
    assert (answer.status_code, message) == (403, "Quota exceeded, too many security groups. (2)")
    set_network_quota(admin, api, security_group=-1)
    put(admin, path, security_groups=3)
    assert api.post(f"{V}/security-groups", {"security_group": {"name": "more"}}).status_code == 201
    assert over(api.post(f"{V}/security-groups", {"security_group": {"name": "most"}}))


def test_security_group_rules_of_each_api(api: Api, admin: Api, path: str) -> None:
    """Nova counts a group's, Neutron a project's: each holds in its own."""
    put(admin, path, security_group_rules=1)
    group = api.post("/os-security-groups", {"security_group": {"name": "g", "description": ""}}).json
    key = group["security_group"]["id"]
    rule = {"parent_group_id": key, "ip_protocol": "tcp", "from_port": 1, "to_port": 1}
    assert api.post("/os-security-group-rules", {"security_group_rule": rule}).status_code == 200
    refused_rule = api.post("/os-security-group-rules", {"security_group_rule": {**rule, "to_port": 2}})
    assert (refused_rule.status_code, "Quota exceeded" in refused_rule.text) == (403, True)
    known = len(api.get(f"{V}/security-group-rules").json["security_group_rules"])
    set_network_quota(admin, api, security_group_rule=known)
    neutrons = {"security_group_id": key, "direction": "ingress", "protocol": "udp"}
    assert over(api.post(f"{V}/security-group-rules", {"security_group_rule": neutrons}))
    set_network_quota(admin, api, security_group_rule=known + 1)
    assert api.post(f"{V}/security-group-rules", {"security_group_rule": neutrons}).status_code == 201
