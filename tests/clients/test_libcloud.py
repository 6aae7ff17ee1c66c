# SPDX-License-Identifier: Apache-2.0
"""apache-libcloud's OpenStack 1.1 driver: the oldest half of the Compute API, by somebody else's code."""

from __future__ import annotations

import pytest

from tests.clients.clouds import OLD_CLIENTS, Cloud

pytestmark = pytest.mark.clients


def test_the_whole_driver(simulated: Cloud) -> None:
    simulated.script("drive_libcloud.py", OLD_CLIENTS)
