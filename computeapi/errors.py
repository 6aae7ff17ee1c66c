# SPDX-License-Identifier: Apache-2.0
"""What can go wrong, by name; and the one map from each to its HTTP status and fault name.

A class's docstring is its default sentence. Code below the API raises these and knows no HTTP status; `fault()` is
asked by `endpoint` alone. Where clients match on a sentence it is Nova's, and the class says so by its Nova name.
Status and fault names: the reference, and nova/api/openstack/wsgi.py (Fault._fault_names).
"""

from __future__ import annotations


class Error(Exception):
    """An error that the caller may read. `kind` is its name in a NeutronError, where it has one of its own."""

    kind = ""

    def __init__(
        self, message: str | None = None, *, headers: dict[str, str] | None = None, kind: str | None = None
    ) -> None:
        self.message = message or (type(self).__doc__ or "").strip()
        self.kind = kind or self.kind
        self.headers = headers or {}
        super().__init__(self.message)


class BadRequest(Error):
    """The server could not comply with the request since it is either malformed or otherwise incorrect."""


class Unauthorized(Error):
    """The request you have made requires authentication."""


class Forbidden(Error):
    """You are not authorized to perform the requested action."""


class QuotaExceeded(Forbidden):
    """Quota exceeded."""


class NotFound(Error):
    """The resource could not be found."""


class MethodNotAllowed(Error):
    """The method specified is not allowed for this resource."""


class VersionNotAcceptable(Error):
    """Version is not supported by the API."""

    def __init__(self, message: str | None = None, *, asked: str = "") -> None:
        self.asked = asked  # the version
        super().__init__(message)


class Conflict(Error):
    """The request conflicts with the state of what it asks for."""


class InvalidState(Conflict):
    """The server is in a state in which this action is not possible."""


class Locked(Conflict):
    """The server is locked."""


class Gone(Error):
    """This resource is no longer available. No forwarding address is given."""


class TooLarge(Error):
    """The request is too large."""


class UnsupportedMediaType(Error):
    """Unsupported Content-Type."""


class TooManyRequests(Error):
    """Too many requests; try again later."""


class NotImplementedHere(Error):
    """The server does not support the functionality required to fulfill the request."""


class Unavailable(Error):
    """The service is not available at this moment; try again later."""


class Collision(Unavailable):
    """The database ended this transaction for another's sake; nothing of it is there, and it can be tried again."""


# The most specific class of an error's ancestry wins.
STATUS: dict[type[Error], tuple[int, str]] = {
    BadRequest: (400, "badRequest"),
    Unauthorized: (401, "unauthorized"),
    Forbidden: (403, "forbidden"),
    NotFound: (404, "itemNotFound"),
    MethodNotAllowed: (405, "badMethod"),
    VersionNotAcceptable: (406, "computeFault"),
    Conflict: (409, "conflictingRequest"),
    Gone: (410, "computeFault"),
    TooLarge: (413, "overLimit"),
    UnsupportedMediaType: (415, "badMediaType"),
    TooManyRequests: (429, "overLimit"),
    NotImplementedHere: (501, "notImplemented"),
    Unavailable: (503, "serviceUnavailable"),
}

# The titles Keystone and Glance put beside a code.
TITLES: dict[int, str] = {
    400: "Bad Request",
    401: "Unauthorized",
    403: "Forbidden",
    404: "Not Found",
    405: "Method Not Allowed",
    406: "Not Acceptable",
    409: "Conflict",
    410: "Gone",
    413: "Request Entity Too Large",
    415: "Unsupported Media Type",
    416: "Requested Range Not Satisfiable",
    429: "Too Many Requests",
    500: "Internal Server Error",
    501: "Not Implemented",
    503: "Service Unavailable",
}


def fault(error: Error) -> tuple[int, str]:
    """The HTTP status and Nova fault name of an error."""
    for kind in type(error).__mro__:
        if kind in STATUS:
            return STATUS[kind]
    return 500, "computeFault"


def internal(request_id: str) -> tuple[int, str, str]:
    """Status, fault name and sentence of what we did not foresee: no internals, but the id to find it in the log."""
    return (
        500,
        "computeFault",
        "Unexpected API Error. Please report this to your operator with the request id "
        f"{request_id}; the log has the details.",
    )
