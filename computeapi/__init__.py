# SPDX-License-Identifier: Apache-2.0
"""A Compute API v2.1 server: Nova's API on Falcon, SQLAlchemy and libvirt."""

__version__ = "0.1.0"
