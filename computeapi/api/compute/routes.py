# SPDX-License-Identifier: Apache-2.0
"""The Compute API's lines of ROUTES. Documented path and clients' path: two lines, one handler."""

from __future__ import annotations

from typing import Any

from computeapi.api.compute import version_documents
from computeapi.endpoint import PUBLIC, Endpoint, endpoint

RULES: list[Any] = []

COMPUTE: dict[str, dict[str, Endpoint]] = {
    # --- version documents ---
    "/": {"GET": endpoint(version_documents.index, PUBLIC)},
    "/v2.1": {"GET": endpoint(version_documents.show, PUBLIC)},
    "/v2.1/": {"GET": endpoint(version_documents.show, PUBLIC)},
    "/v2": {"GET": endpoint(version_documents.show_legacy, PUBLIC)},
    "/v2/": {"GET": endpoint(version_documents.show_legacy, PUBLIC)},
}
