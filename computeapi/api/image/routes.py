# SPDX-License-Identifier: Apache-2.0
"""The image API's lines of ROUTES, under /image."""

from __future__ import annotations

from typing import Any

from computeapi.api.image import common, data, discovery, images, members, schemas
from computeapi.endpoint import ANY_TOKEN, PUBLIC, Endpoint, endpoint

RULES: list[Any] = [*images.RULES, *data.RULES, *members.RULES]

_VERSIONS = {"GET": endpoint(discovery.index, PUBLIC)}
_VERSIONS_OK = {"GET": endpoint(discovery.versions, PUBLIC)}

IMAGE: dict[str, dict[str, Endpoint]] = {
    # --- what it says of itself ---
    "": _VERSIONS,
    "/": _VERSIONS,
    "/versions": _VERSIONS_OK,
    "/v2": _VERSIONS,
    "/v2/": _VERSIONS,
    "/v2/schemas/image": {"GET": endpoint(schemas.show("image"), ANY_TOKEN)},
    "/v2/schemas/images": {"GET": endpoint(schemas.show("images"), ANY_TOKEN)},
    "/v2/schemas/member": {"GET": endpoint(schemas.show("member"), ANY_TOKEN)},
    "/v2/schemas/members": {"GET": endpoint(schemas.show("members"), ANY_TOKEN)},
    "/v2/info/import": {"GET": endpoint(discovery.import_methods, ANY_TOKEN)},
    "/v2/info/stores": {"GET": endpoint(discovery.stores, ANY_TOKEN)},
    # --- images ---
    "/v2/images": {
        "GET": endpoint(images.index, "get_images"),
        "POST": endpoint(images.create, "add_image", body=images.CREATE, status=201),
    },
    "/v2/images/{image_id}": {
        "GET": endpoint(images.show, "get_image", loads=common.load),
        "PATCH": endpoint(images.update, "modify_image", loads=common.load),
        "DELETE": endpoint(images.delete, "delete_image", loads=common.load, status=204),
    },
    "/v2/images/{image_id}/tasks": {"GET": endpoint(images.tasks, "get_image", loads=common.load)},
    "/v2/images/{image_id}/tags/{tag}": {
        "PUT": endpoint(images.add_tag, "modify_image", loads=common.load, status=204),
        "DELETE": endpoint(images.remove_tag, "modify_image", loads=common.load, status=204),
    },
    # --- their bytes ---
    "/v2/images/{image_id}/file": {
        "GET": endpoint(data.download, "download_image", loads=common.load),
        "PUT": endpoint(data.upload, "upload_image", loads=common.load, status=204, streams=True),
    },
    "/v2/images/{image_id}/stage": {
        "PUT": endpoint(data.stage, "modify_image", loads=common.load, status=204, streams=True)
    },
    "/v2/images/{image_id}/import": {
        "POST": endpoint(data.import_image, "modify_image", loads=common.load, status=202)
    },
    "/v2/images/{image_id}/actions/deactivate": {
        "POST": endpoint(data.deactivate, "deactivate", loads=common.load, status=204)
    },
    "/v2/images/{image_id}/actions/reactivate": {
        "POST": endpoint(data.reactivate, "reactivate", loads=common.load, status=204)
    },
    # --- whom they are shared with ---
    "/v2/images/{image_id}/members": {
        "GET": endpoint(members.index, "get_members", loads=common.load),
        "POST": endpoint(members.create, "add_member", loads=common.load, body=members.CREATE),
    },
    "/v2/images/{image_id}/members/{member_id}": {
        "GET": endpoint(members.show, "get_member", loads=members.load_as_member),
        "PUT": endpoint(members.update, "modify_member", loads=members.load_as_member, body=members.UPDATE),
        "DELETE": endpoint(members.delete, "delete_member", loads=members.load_as_owner, status=204),
    },
}
