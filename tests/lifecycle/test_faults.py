# SPDX-License-Identifier: Apache-2.0
"""What a server's fault says."""

from __future__ import annotations

import orjson
import pytest

from computeapi.lifecycle import make_fault


@pytest.mark.parametrize("length", [0, 200, 234, 235, 10_000])
def test_a_long_message_keeps_what_was_done_and_the_cause(length: int) -> None:
    message = f"making it: {'x' * length} no disk"
    said = orjson.loads(make_fault(500, message))["message"]
    assert len(said) <= 255
    assert said.startswith("making it: ") and said.endswith(" no disk")
    assert said == message or len(message) > 255
