# SPDX-License-Identifier: Apache-2.0
"""openstacksdk, as other programs use it: what can be done to a server, once each."""

from __future__ import annotations

import pytest

from tests.clients.clouds import Cloud

pytestmark = pytest.mark.clients


def test_the_whole_list_of_actions(simulated: Cloud) -> None:
    simulated.script("drive_sdk.py")
