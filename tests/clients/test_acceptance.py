# SPDX-License-Identifier: Apache-2.0
"""A short slice of tempest: that it runs at all, and what it says of the things every client uses."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from tests.clients import acceptance

SLICE = [
    r"tempest\.api\.compute\.(flavors|keypairs|limits|test_versions)",
    r"tempest\.api\.compute\.servers\.test_(server_metadata|servers\.ServersTest)",
    r"tempest\.api\.image\.v2\.test_images\.BasicOperations",
    r"tempest\.api\.identity\.v3\.test_(tokens|projects)",
]

pytestmark = [
    pytest.mark.clients,
    pytest.mark.skipif(not acceptance.TEMPEST.exists(), reason="tempest is not installed: tools/test does it"),
]


def test_a_slice_of_tempest(tmp_path: Path) -> None:
    cloud = acceptance.new_cloud(tmp_path / "state")
    try:
        done = acceptance.run(cloud, acceptance.write_conf(cloud), SLICE, capture_output=True, timeout=600)
    finally:
        cloud.stop()
    said = done.stdout + done.stderr
    assert done.returncode == 0, said[-20_000:]
    passed = re.search(r"Passed: (\d+)", said)
    assert passed is not None and int(passed[1]) > 40, said[-2000:]
