# SPDX-License-Identifier: Apache-2.0
"""An image's bytes: upload, stage and import, download; deactivate and reactivate.

glance/api/v2/image_data.py and image_actions.py.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Any

from computeapi import errors, policy
from computeapi.api.image import common, discovery
from computeapi.backends.image import files
from computeapi.db.queries import images as queries
from computeapi.endpoint import Call, Reply

# --- RULES ---

_IMAGE = "/v2/images/{image_id}"

RULES = [
    policy.rule("download_image", common.MEMBER, "Download an image's data.", ("GET", _IMAGE + "/file")),
    policy.rule("upload_image", common.OWNER, "Upload an image's data.", ("PUT", _IMAGE + "/file")),
    policy.rule("deactivate", common.OWNER, "Forbid downloads.", ("POST", _IMAGE + "/actions/deactivate")),
    policy.rule("reactivate", common.OWNER, "Allow downloads again.", ("POST", _IMAGE + "/actions/reactivate")),
]

# --- HANDLERS: in ---


def upload(call: Call) -> None:
    """PUT /v2/images/{image_id}/file (204)."""
    common.store(call).upload(call.context, common.found(call).uuid, _body(call))


def stage(call: Call) -> None:
    """PUT /v2/images/{image_id}/stage (204)."""
    common.store(call).stage(call.context, common.found(call).uuid, _body(call))


def import_image(call: Call) -> None:
    """POST /v2/images/{image_id}/import (202)."""
    body = call.body
    method = body.get("method") if isinstance(body, dict) else None
    if not isinstance(method, dict) or "name" not in method:
        raise errors.BadRequest("Import request requires a 'method' field with a 'name'.")
    if method["name"] not in discovery.IMPORT_METHODS:
        raise errors.BadRequest(f"Unknown import method name '{method['name']}'.")
    for flag in ("all_stores", "all_stores_must_succeed"):
        if not isinstance(body.get(flag, True), bool):
            raise errors.BadRequest(f"'{flag}' must be boolean value only")
    common.store(call).import_staged(call.context, common.found(call).uuid)


def _body(call: Call) -> Iterator[bytes]:
    """The request's bytes, to the end; raises BadRequest where the client stopped before."""
    request = call.request
    if (request.content_type or "").split(";")[0].strip().lower() != "application/octet-stream":
        raise errors.UnsupportedMediaType("Image data is sent as application/octet-stream.")
    promised = _promised(call)
    chunked = "chunked" in (call.header("Transfer-Encoding") or "").lower()
    if chunked and not request.env.get("wsgi.input_terminated"):
        raise errors.BadRequest("This server takes no chunked body; send a Content-Length.")
    return _read(request.stream if chunked else call.stream, promised)


def _promised(call: Call) -> int | None:
    """How many bytes the client says there are."""
    text = call.header("X-OpenStack-Image-Size")
    if text is None:
        return call.request.content_length
    if not re.fullmatch("[0-9]{1,18}", text):
        raise errors.BadRequest("Invalid or missing image size in request headers.")
    return int(text)


def _read(stream: Any, promised: int | None) -> Iterator[bytes]:
    seen = 0
    while True:
        try:
            chunk = stream.read(files.CHUNK)
        except Exception as error:  # each WSGI server has its own for a body that is cut short or malformed
            raise errors.BadRequest("The upload was cut short or malformed.") from error
        if not chunk:
            break
        seen += len(chunk)
        yield chunk
    if promised is not None and seen != promised:
        raise errors.BadRequest(f"The upload was cut short: {seen} of {promised} bytes came.")


# --- HANDLERS: out ---


def download(call: Call) -> Reply:
    """GET /v2/images/{image_id}/file: 200, 206 for a range, 204 where there is no data."""
    images = common.store(call)
    try:
        row = images.readable(call.context, common.found(call).uuid)
    except errors.NotFound:
        return Reply(status=204)
    size = row.size or 0
    headers = {"Content-MD5": row.checksum} if row.checksum else {}
    try:
        span = byte_range(call.header("Range"), size)
    except ValueError as error:
        return _unsatisfiable(str(error), size)
    file = images.files.open(row.uuid)
    kind = "application/octet-stream"
    if span is None:
        return Reply(stream=file, length=size, headers=headers, content_type=kind)
    start, length = span
    headers["Content-Range"] = f"bytes {start}-{start + length - 1}/{size}"
    return Reply(stream=files.read(file, start, length), length=length, status=206, headers=headers, content_type=kind)


_RANGE = re.compile(r"bytes=([0-9]{0,18})-([0-9]{0,18})")


def byte_range(header: str | None, size: int) -> tuple[int, int] | None:
    """(first byte, how many) that a Range header asks for; None without one.

    Raises ValueError for what the image has not, BadRequest for several ranges.
    """
    if header is None:
        return None
    if "," in header:
        raise errors.BadRequest("Requests with multiple ranges are not supported; make several requests.")
    found = _RANGE.fullmatch(header.strip())
    if not found or found.groups() == ("", ""):
        raise ValueError("Invalid Range header.")
    first, last = found.groups()
    start = int(first) if first else max(0, size - int(last))
    end = min(int(last), size - 1) if first and last else size - 1
    if start > end:
        raise ValueError(f"The range is not within the image's {size} bytes.")
    return start, end - start + 1


def _unsatisfiable(message: str, size: int) -> Reply:
    title = errors.TITLES[416]
    body = {"message": message, "code": f"416 {title}", "title": title}
    return Reply(body, status=416, headers={"Content-Range": f"bytes */{size}"})


# --- HANDLERS: actions ---


def deactivate(call: Call) -> None:
    """POST …/actions/deactivate (204)."""
    _switch(call, "active", "deactivated", "deactivate")


def reactivate(call: Call) -> None:
    """POST …/actions/reactivate (204)."""
    _switch(call, "deactivated", "active", "reactivate")


def _switch(call: Call, before: str, after: str, verb: str) -> None:
    images, row = common.store(call), common.found(call)
    if row.status == after:
        return
    with images.db.write() as conn:
        if not queries.change(conn, row.key, {"status": after}, statuses=(before,)):
            raise errors.Forbidden(f"Not allowed to {verb} image in status '{row.status}'")
