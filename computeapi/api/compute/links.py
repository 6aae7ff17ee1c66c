# SPDX-License-Identifier: Apache-2.0
"""Links and pages, the same for every noun (nova/api/openstack/common.py: ViewBuilder, get_limit_and_marker).

A link names the version that was asked (`/v2.1`, or `/v2`), and the project only if the request's URL did.
"""

from __future__ import annotations

from typing import NamedTuple
from urllib.parse import urlencode

from computeapi import errors
from computeapi.endpoint import Call

Link = dict[str, str]


class Prefixes(NamedTuple):
    """What stands before an id in the links to a collection's items; made once an answer."""

    own: str  # ends with "/"
    bookmark: str  # the same without the version

    def of(self, identifier: str) -> list[Link]:
        """The `links` of the item with that id."""
        return [
            {"rel": "self", "href": self.own + identifier},
            {"rel": "bookmark", "href": self.bookmark + identifier},
        ]


def prefixes(call: Call, collection: str) -> Prefixes:
    """The prefixes of links to items of `collection` ("servers")."""
    host, path = call.host_url, f"{_project(call)}/{collection}/"
    return Prefixes(f"{host}{_version(call)}{path}", host + path)


def last(call: Call, name: str) -> str | None:
    """The last value of a query parameter: the one that Nova takes where a client sends several."""
    values = call.query.get(name)
    return values[-1] if values else None


def page_size(call: Call) -> int:
    """How many items at most: the parameter `limit`, and never more than the setting `max_limit`.

    Raises BadRequest for what is no number (where the row's query schema let it pass).
    """
    text, most = last(call, "limit"), call.services.settings.max_limit
    if text is None:
        return most
    try:
        size = int(text)
    except ValueError:
        raise errors.BadRequest("limit must be an integer") from None
    if size < 0:
        raise errors.BadRequest("limit must be >= 0")
    return min(size, most)


def next_page(call: Call, path: str, count: int, last_id: str) -> list[Link] | None:
    """The `<collection>_links` of a page with `count` items; None where the page is not full.

    `path` is what follows the version ("servers/detail"), `last_id` the id of the page's last item. As in Nova a full
    page has the link even if nothing comes after it. The query's other known parameters are kept.
    """
    if not count or count < page_size(call):
        return None
    query = {name: call.query[name] for name in sorted(call.query)}
    query["marker"] = [last_id]
    href = f"{call.host_url}{_version(call)}{_project(call)}/{path}?{urlencode(query, doseq=True)}"
    return [{"rel": "next", "href": href}]


def _version(call: Call) -> str:
    return "/v2" if call.legacy else "/v2.1"


def _project(call: Call) -> str:
    project = call.request.context.url_project
    return f"/{project}" if project else ""
