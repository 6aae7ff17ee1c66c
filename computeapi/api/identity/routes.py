# SPDX-License-Identifier: Apache-2.0
"""The identity service's lines of ROUTES. With a real Keystone (setting identity_url) they all answer 410."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

from computeapi import errors
from computeapi.api.identity import (
    catalog,
    common,
    credentials,
    domains,
    grants,
    groups,
    limits,
    policies,
    projects,
    registry,
    roles,
    tokens,
    user_secrets,
    users,
    version_documents,
)
from computeapi.endpoint import PUBLIC, Call, Endpoint, endpoint

RULES: list[Any] = [
    *common.RULES,
    *tokens.RULES,
    *catalog.RULES,
    *registry.RULES,
    *domains.RULES,
    *projects.RULES,
    *users.RULES,
    *groups.RULES,
    *roles.RULES,
    *policies.RULES,
    *grants.RULES,
    *credentials.RULES,
    *limits.RULES,
    *user_secrets.RULES,
]

_user, _project, _own_domain = common.url_user, common.url_project, domains.own_domain

_TABLE: dict[str, dict[str, Endpoint]] = {
    # --- version documents ---
    "": {"GET": endpoint(version_documents.index, PUBLIC)},
    "/": {"GET": endpoint(version_documents.index, PUBLIC)},
    "/v3": {"GET": endpoint(version_documents.show, PUBLIC)},
    "/v3/": {"GET": endpoint(version_documents.show, PUBLIC)},
    # --- tokens and what one may do with one's own ---
    "/v3/auth/tokens": {
        "POST": endpoint(tokens.issue, PUBLIC, body=tokens.ISSUE, status=201),
        "GET": endpoint(tokens.show, "identity:validate_token", loads=tokens.subject),
        "HEAD": endpoint(tokens.show, "identity:check_token", loads=tokens.subject),
        "DELETE": endpoint(tokens.revoke, "identity:revoke_token", loads=tokens.subject, status=204),
    },
    "/v3/auth/projects": {"GET": endpoint(projects.list_mine, "identity:get_auth_projects")},
    "/v3/auth/domains": {"GET": endpoint(domains.list_mine, "identity:get_auth_domains")},
    "/v3/auth/system": {"GET": endpoint(tokens.show_system, "identity:get_auth_system")},
    "/v3/auth/catalog": {"GET": endpoint(catalog.show_auth_catalog, "identity:get_auth_catalog")},
    # --- catalog ---
    "/v3/services": {
        "GET": endpoint(registry.list_services, "identity:list_services"),
        "POST": endpoint(registry.create_service, "identity:create_service", body=registry.CREATE_SERVICE, status=201),
    },
    "/v3/services/{key}": {
        "GET": endpoint(registry.show_service, "identity:get_service"),
        "PATCH": endpoint(registry.update_service, "identity:update_service", body=registry.UPDATE_SERVICE),
        "DELETE": endpoint(registry.delete_service, "identity:delete_service", status=204),
    },
    "/v3/endpoints": {
        "GET": endpoint(registry.list_endpoints, "identity:list_endpoints"),
        "POST": endpoint(
            registry.create_endpoint, "identity:create_endpoint", body=registry.CREATE_ENDPOINT, status=201
        ),
    },
    "/v3/endpoints/{key}": {
        "GET": endpoint(registry.show_endpoint, "identity:get_endpoint"),
        "PATCH": endpoint(registry.update_endpoint, "identity:update_endpoint", body=registry.UPDATE_ENDPOINT),
        "DELETE": endpoint(registry.delete_endpoint, "identity:delete_endpoint", status=204),
    },
    "/v3/regions": {
        "GET": endpoint(registry.list_regions, "identity:list_regions"),
        "POST": endpoint(registry.create_region, "identity:create_region", body=registry.REGION_BODY, status=201),
    },
    "/v3/regions/{key}": {
        "GET": endpoint(registry.show_region, "identity:get_region"),
        "PUT": endpoint(
            registry.create_region_with_id, "identity:create_region", body=registry.REGION_BODY, status=201
        ),
        "PATCH": endpoint(registry.update_region, "identity:update_region", body=registry.REGION_BODY),
        "DELETE": endpoint(registry.delete_region, "identity:delete_region", status=204),
    },
    # --- domains ---
    "/v3/domains": {
        "GET": endpoint(domains.index, "identity:list_domains"),
        "POST": endpoint(domains.create, "identity:create_domain", body=domains.CREATE, status=201),
    },
    "/v3/domains/{domain_id}": {
        "GET": endpoint(domains.show, "identity:get_domain", loads=_own_domain),
        "PATCH": endpoint(domains.update, "identity:update_domain", body=domains.UPDATE),
        "DELETE": endpoint(domains.delete, "identity:delete_domain", status=204),
    },
    # --- projects ---
    "/v3/projects": {
        "GET": endpoint(projects.index, "identity:list_projects"),
        "POST": endpoint(projects.create, "identity:create_project", body=projects.CREATE, status=201),
    },
    "/v3/projects/{project_id}": {
        "GET": endpoint(projects.show, "identity:get_project", loads=_project),
        "PATCH": endpoint(projects.update, "identity:update_project", body=projects.UPDATE, loads=_project),
        "DELETE": endpoint(projects.delete, "identity:delete_project", loads=_project, status=204),
    },
    "/v3/projects/{project_id}/tags": {
        "GET": endpoint(projects.list_tags, "identity:list_project_tags", loads=_project),
        "PUT": endpoint(projects.replace_tags, "identity:update_project_tags", body=projects.TAGS, loads=_project),
        "DELETE": endpoint(projects.remove_tags, "identity:delete_project_tags", loads=_project, status=204),
    },
    "/v3/projects/{project_id}/tags/{value}": {
        "GET": endpoint(projects.show_tag, "identity:get_project_tag", loads=_project, status=204),
        "PUT": endpoint(projects.add_tag, "identity:create_project_tag", loads=_project, status=201),
        "DELETE": endpoint(projects.remove_tag, "identity:delete_project_tag", loads=_project, status=204),
    },
    # --- users ---
    "/v3/users": {
        "GET": endpoint(users.index, "identity:list_users"),
        "POST": endpoint(users.create, "identity:create_user", body=users.CREATE, status=201),
    },
    "/v3/users/{user_id}": {
        "GET": endpoint(users.show, "identity:get_user", loads=_user),
        "PATCH": endpoint(users.update, "identity:update_user", body=users.UPDATE, loads=_user),
        "DELETE": endpoint(users.delete, "identity:delete_user", loads=_user, status=204),
    },
    "/v3/users/{user_id}/password": {"POST": endpoint(users.change_password, PUBLIC, body=users.PASSWORD, status=204)},
    "/v3/users/{user_id}/projects": {
        "GET": endpoint(projects.list_of_user, "identity:list_user_projects", loads=_user)
    },
    "/v3/users/{user_id}/groups": {"GET": endpoint(groups.list_of_user, "identity:list_groups_for_user", loads=_user)},
    "/v3/users/{user_id}/application_credentials": {
        "GET": endpoint(credentials.index, "identity:list_application_credentials", loads=_user),
        "POST": endpoint(
            credentials.create,
            "identity:create_application_credential",
            body=credentials.CREATE,
            loads=_user,
            status=201,
        ),
    },
    "/v3/users/{user_id}/application_credentials/{application_credential_id}": {
        "GET": endpoint(credentials.show, "identity:get_application_credential", loads=_user),
        "DELETE": endpoint(credentials.delete, "identity:delete_application_credential", loads=_user, status=204),
    },
    # --- secrets that users keep here ---
    "/v3/credentials": {
        "GET": endpoint(user_secrets.index, "identity:list_credentials"),
        "POST": endpoint(
            user_secrets.create,
            "identity:create_credential",
            body=user_secrets.CREATE,
            loads=user_secrets.new_owner,
            status=201,
        ),
    },
    "/v3/credentials/{credential_id}": {
        "GET": endpoint(user_secrets.show, "identity:get_credential", loads=user_secrets.owner),
        "PATCH": endpoint(
            user_secrets.update, "identity:update_credential", body=user_secrets.UPDATE, loads=user_secrets.owner
        ),
        "DELETE": endpoint(user_secrets.delete, "identity:delete_credential", loads=user_secrets.owner, status=204),
    },
    "/v3/users/{user_id}/credentials/OS-EC2": {
        "GET": endpoint(user_secrets.list_ec2, "identity:ec2_list_credentials", loads=_user),
        "POST": endpoint(
            user_secrets.create_ec2,
            "identity:ec2_create_credential",
            body=user_secrets.CREATE_EC2,
            loads=_user,
            status=201,
        ),
    },
    "/v3/users/{user_id}/credentials/OS-EC2/{access}": {
        "GET": endpoint(user_secrets.show_ec2, "identity:ec2_get_credential", loads=_user),
        "DELETE": endpoint(user_secrets.delete_ec2, "identity:ec2_delete_credential", loads=_user, status=204),
    },
    # --- groups ---
    "/v3/groups": {
        "GET": endpoint(groups.index, "identity:list_groups"),
        "POST": endpoint(groups.create, "identity:create_group", body=groups.CREATE, status=201),
    },
    "/v3/groups/{group_id}": {
        "GET": endpoint(groups.show, "identity:get_group"),
        "PATCH": endpoint(groups.update, "identity:update_group", body=groups.UPDATE),
        "DELETE": endpoint(groups.delete, "identity:delete_group", status=204),
    },
    "/v3/groups/{group_id}/users": {"GET": endpoint(groups.list_members, "identity:list_users_in_group")},
    "/v3/groups/{group_id}/users/{user_id}": {
        "GET": endpoint(groups.check_member, "identity:check_user_in_group", status=204),
        "PUT": endpoint(groups.add_member, "identity:add_user_to_group", status=204),
        "DELETE": endpoint(groups.remove_member, "identity:remove_user_from_group", status=204),
    },
    # --- policies ---
    "/v3/policies": {
        "GET": endpoint(policies.index, "identity:list_policies"),
        "POST": endpoint(policies.create, "identity:create_policy", body=policies.CREATE, status=201),
    },
    "/v3/policies/{policy_id}": {
        "GET": endpoint(policies.show, "identity:get_policy"),
        "PATCH": endpoint(policies.update, "identity:update_policy", body=policies.UPDATE),
        "DELETE": endpoint(policies.delete, "identity:delete_policy", status=204),
    },
    # --- roles ---
    "/v3/roles": {
        "GET": endpoint(roles.index, "identity:list_roles"),
        "POST": endpoint(roles.create, "identity:create_role", body=roles.CREATE, status=201),
    },
    "/v3/roles/{role_id}": {
        "GET": endpoint(roles.show, "identity:get_role"),
        "PATCH": endpoint(roles.update, "identity:update_role", body=roles.UPDATE),
        "DELETE": endpoint(roles.delete, "identity:delete_role", status=204),
    },
    "/v3/roles/{role_id}/implies": {"GET": endpoint(roles.list_implied, "identity:list_implied_roles")},
    "/v3/roles/{role_id}/implies/{implied_role_id}": {
        "GET": endpoint(roles.show_implied, "identity:get_implied_role"),
        "HEAD": endpoint(roles.show_implied, "identity:check_implied_role", status=204),
        "PUT": endpoint(roles.imply, "identity:create_implied_role", status=201),
        "DELETE": endpoint(roles.imply_no_more, "identity:delete_implied_role", status=204),
    },
    "/v3/role_inferences": {"GET": endpoint(roles.list_inferences, "identity:list_role_inference_rules")},
    # --- who has which ---
    "/v3/role_assignments": {"GET": endpoint(grants.list_assignments, "identity:list_role_assignments")},
    **grants.rows(),
    # --- unified limits ---
    "/v3/registered_limits": {
        "GET": endpoint(limits.list_registered, "identity:list_registered_limits"),
        "POST": endpoint(limits.register, "identity:create_registered_limits", body=limits.REGISTER, status=201),
    },
    "/v3/registered_limits/{key}": {
        "GET": endpoint(limits.show_registered, "identity:get_registered_limit"),
        "PATCH": endpoint(limits.update_registered, "identity:update_registered_limit", body=limits.UPDATE_REGISTERED),
        "DELETE": endpoint(limits.delete_registered, "identity:delete_registered_limit", status=204),
    },
    "/v3/limits": {
        "GET": endpoint(limits.index, "identity:list_limits"),
        "POST": endpoint(limits.create, "identity:create_limits", body=limits.CREATE, status=201),
    },
    "/v3/limits/model": {"GET": endpoint(limits.show_model, "identity:get_limit_model")},
    "/v3/limits/{key}": {
        "GET": endpoint(limits.show, "identity:get_limit", loads=limits.of_project),
        "PATCH": endpoint(limits.update, "identity:update_limit", body=limits.UPDATE),
        "DELETE": endpoint(limits.delete, "identity:delete_limit", status=204),
    },
}


def _guarded(row: Endpoint) -> Endpoint:
    """The same row, which answers only while the embedded service is in use, and for names that can exist."""

    def loads(call: Call) -> Any:
        keystone = call.services.settings.identity_url
        if keystone:
            raise errors.Gone(f"The identity service is at {keystone}.")
        if any("\x00" in value for value in call.params.values()):
            raise errors.NotFound
        return row.loads(call) if row.loads is not None else None

    return replace(row, loads=loads)


IDENTITY = {path: {method: _guarded(row) for method, row in rows.items()} for path, rows in _TABLE.items()}
