# SPDX-License-Identifier: Apache-2.0
"""What asking a real Glance, Cinder or Neutron share: how often, with whose token (the caller's own, or that of the
service user of [identity]), and what their statuses mean."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, cast

import requests
from keystoneauth1 import exceptions
from keystoneauth1.adapter import Adapter
from keystoneauth1.identity.v3 import Password
from keystoneauth1.session import Session

from computeapi import errors
from computeapi.context import Context
from computeapi.settings import Settings

# What a status of theirs means; each has some more.
ERRORS: dict[int, type[errors.Error]] = {
    400: errors.BadRequest,
    401: errors.Unauthorized,
    403: errors.Forbidden,
    404: errors.NotFound,
    409: errors.Conflict,
    429: errors.TooManyRequests,
}
BRIEFLY = 5  # seconds without a byte, while a transaction or a request waits

_RETRIES = 2
_PASSING = [502, 503, 504]


def adapter(session: Session, url: str, method: str, context: Context) -> Adapter:
    """For one request. Questions are asked again where the connection or a proxy in between failed; changes are not."""
    retries = _RETRIES if method == "GET" else 0
    return Adapter(
        session,
        endpoint_override=url,
        connect_retries=retries,
        status_code_retries=retries,
        retriable_status_codes=_PASSING,
        global_request_id=context.request_id or None,
        raise_exc=False,
    )


def ask(
    session: Session, url: str, context: Context, token: str, method: str, path: str, *, service: str, **more: Any
) -> requests.Response:
    """What the service at `url` answers, whatever its status; `service` is "image", "volume" or "network", for the
    sentences of what is raised: Unauthorized without a token, Unavailable where it can't be reached."""
    if not token:
        raise errors.Unauthorized(f"There is no token to ask the {service} service with.")
    headers = {"X-Auth-Token": token, **more.pop("headers", {})}
    try:
        asked = adapter(session, url, method, context)
        answer = asked.request(path, method, headers=headers, authenticated=False, **more)
    except exceptions.ClientException as error:
        raise errors.Unavailable(f"The {service} service can't be reached; try again later.") from error
    return cast(requests.Response, answer)


def in_path(key: str, missing: str) -> str:
    """An id, which is put into a path. Raises NotFound with the sentence `missing` for what can be none."""
    if not key or not key.replace("-", "").isalnum() or not key.isascii():
        raise errors.NotFound(missing)
    return key


def context_token(context: Context) -> str:
    """The token that the caller came with."""
    return getattr(context, "token", "")


def service_token(settings: Settings) -> Callable[[], str]:
    """What gives the token of the service user of [identity]; keystoneauth1 gets a new one when it must."""
    url = settings.identity_url or f"{settings.public_url}/identity/v3"
    plugin = Password(
        auth_url=url,
        username=settings.identity_username,
        password=settings.identity_password,
        user_domain_name=settings.identity_domain_name,
        project_name=settings.identity_project_name,
        project_domain_name=settings.identity_domain_name,
    )
    session = Session(plugin, verify=settings.identity_cafile or True, timeout=BRIEFLY)

    def token() -> str:
        if not settings.identity_password:
            return ""
        try:
            return session.get_token() or ""
        except exceptions.ClientException as error:
            raise errors.Unavailable("The identity service can't be reached; try again later.") from error

    return token


def callers_or_service(settings: Settings) -> Callable[[Context], str]:
    """What gives the token that a request came with, or, on a host where nobody's is at hand, the service user's."""
    service = service_token(settings)
    return lambda context: context_token(context) or service()
