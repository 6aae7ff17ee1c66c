# SPDX-License-Identifier: Apache-2.0
"""A real Glance behind the seam: its v2 API, asked by keystoneauth1 with the caller's own token; by a host, which has
none, with the service user's of [identity].

What the caller may see and do is Glance's to say. Questions are asked again where the connection or a proxy in between
failed; changes and uploads are not.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterable, Iterator, Mapping
from typing import Any

import requests
from keystoneauth1.session import Session

from computeapi import clock, errors
from computeapi.backends.image.base import ATTRIBUTES, ImageBackend, ImageInfo, check_property_name, is_id
from computeapi.backends.service_user import ERRORS, ask
from computeapi.context import Context

PATCH = "application/openstack-images-v2.1-json-patch"
CHUNK = 1024 * 1024  # bytes
TIMEOUT = 60  # seconds without a byte

_ERRORS = ERRORS | {410: errors.Gone, 413: errors.TooLarge, 415: errors.UnsupportedMediaType}


class GlanceImages(ImageBackend):
    """Images of the Glance at `url` (with or without /v2). `token` gives the token to ask with."""

    def __init__(self, url: str, token: Callable[[Context], str]) -> None:
        self._url = url.rstrip("/").removesuffix("/v2")
        self._token = token
        self._session = Session(timeout=TIMEOUT)

    def show(self, context: Context, image_id: str) -> ImageInfo:
        """One image."""
        return _info(self._ask(context, "GET", _path(image_id)).json())

    def list(self, context: Context, filters: Mapping[str, str], limit: int, marker: str | None) -> list[ImageInfo]:
        """Images, newest first; as many pages as it takes. Glance no longer tells of deleted ones."""
        query = {name: value for name, value in filters.items() if name != "changes-since"}
        if since := filters.get("changes-since"):
            query["updated_at"] = f"gte:{since}"
        query |= {"limit": str(limit), "sort_key": "created_at", "sort_dir": "desc"}
        if marker is not None:
            query["marker"] = marker
        found: list[ImageInfo] = []
        page = self._ask(context, "GET", "/v2/images", params=query).json()
        while True:
            found += [_info(image) for image in page["images"]]
            following = page.get("next")
            if not following or not page["images"] or len(found) >= limit:
                return found[:limit]
            page = self._ask(context, "GET", following).json()

    def set_properties(self, context: Context, image_id: str, properties: dict[str, str], purge: bool) -> ImageInfo:
        """Merge properties in, or replace them all."""
        for name in properties:
            check_property_name(name)
        changes: list[dict[str, Any]] = [
            {"op": "add", "path": _pointer(name), "value": value} for name, value in properties.items()
        ]
        if purge:
            there = self.show(context, image_id).properties
            changes += [{"op": "remove", "path": _pointer(name)} for name in there if name not in properties]
        answer = self._ask(context, "PATCH", _path(image_id), json=changes, headers={"Content-Type": PATCH})
        return _info(answer.json())

    def delete(self, context: Context, image_id: str) -> None:
        """Delete an image."""
        self._ask(context, "DELETE", _path(image_id))

    def create(
        self, context: Context, name: str | None, disk_format: str | None, properties: dict[str, str], **fields: Any
    ) -> str:
        """A queued image."""
        body = {**properties, "container_format": "bare", **fields, "name": name, "disk_format": disk_format}
        if "tags" in body:
            body["tags"] = list(body["tags"])
        return str(self._ask(context, "POST", "/v2/images", json=body).json()["id"])

    def upload(self, context: Context, image_id: str, chunks: Iterable[bytes]) -> None:
        """queued → saving → active."""
        self._ask(
            context,
            "PUT",
            _path(image_id) + "/file",
            data=iter(chunks),
            headers={"Content-Type": "application/octet-stream"},
        )

    def chunks(self, context: Context, image_id: str) -> Iterator[bytes]:
        """An active image's bytes, checked against Glance's MD5."""
        answer = self._ask(context, "GET", _path(image_id) + "/file", stream=True)
        if answer.status_code == 204:
            answer.close()
            raise errors.NotFound(f"Image {image_id} has no data")
        return _read(answer, image_id)

    def endpoint(self, host_url: str) -> str:
        """The Glance's URL."""
        return self._url

    def _ask(self, context: Context, method: str, path: str, **more: Any) -> requests.Response:
        """Glance's answer. Raises the error that its status stands for."""
        more["headers"] = {"Accept": "*/*", **more.get("headers", {})}
        token = self._token(context)
        answer = ask(self._session, self._url, context, token, method, path, service="image", **more)
        if answer.status_code >= 400:
            raise _error(answer)
        return answer


def _path(image_id: str) -> str:
    if not is_id(image_id):
        raise errors.NotFound(f"No image found with ID {image_id}")
    return f"/v2/images/{image_id}"


def _pointer(name: str) -> str:
    return "/" + name.replace("~", "~0").replace("/", "~1")


def _info(image: Mapping[str, Any]) -> ImageInfo:
    return ImageInfo(
        id=image["id"],
        name=image.get("name"),
        status=image["status"],
        owner=image.get("owner"),
        visibility=image["visibility"],
        disk_format=image.get("disk_format"),
        container_format=image.get("container_format"),
        size=image.get("size"),
        checksum=image.get("checksum"),
        min_disk=image.get("min_disk") or 0,
        min_ram=image.get("min_ram") or 0,
        created_at=clock.parse_filter(image["created_at"]),
        updated_at=clock.parse_filter(image["updated_at"]),
        protected=bool(image.get("protected")),
        properties={name: str(value) for name, value in image.items() if name not in ATTRIBUTES},
        virtual_size=image.get("virtual_size"),
    )


def _error(answer: requests.Response) -> errors.Error:
    kind = _ERRORS.get(answer.status_code)
    if kind is None:
        return errors.Unavailable("The image service failed; try again later.")
    try:
        message = answer.json().get("message")
    except (ValueError, AttributeError):
        message = None  # Glance answers HTML where it is not asked for JSON
    return kind(message if isinstance(message, str) else None)


def _read(answer: requests.Response, image_id: str) -> Iterator[bytes]:
    expected, seen = answer.headers.get("Content-MD5"), hashlib.md5(usedforsecurity=False)
    with answer:
        try:
            for chunk in answer.iter_content(CHUNK):
                seen.update(chunk)
                yield chunk
        except requests.RequestException as error:
            raise errors.Unavailable(f"The image service stopped in the middle of image {image_id}.") from error
    if expected and seen.hexdigest() != expected:
        raise errors.Unavailable(f"The data of image {image_id} came damaged.")
