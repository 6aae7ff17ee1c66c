# SPDX-License-Identifier: Apache-2.0
"""Rows that tests of running it look at, and a host to do the work."""

from tests.wire.conftest import base_image, boot, compute, flavor, make_server, network

__all__ = ["base_image", "boot", "compute", "flavor", "make_server", "network"]
