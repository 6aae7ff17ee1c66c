# SPDX-License-Identifier: Apache-2.0
"""Cinder's NFS driver on a directory that is there already: no server is asked, and nothing is mounted."""

from __future__ import annotations

import os
from typing import Any

from cinder.volume.drivers import nfs, remotefs


class FilesDriver(nfs.NfsDriver):  # type: ignore[misc]
    """Volumes are files; each share is a directory below nfs_mount_point_base, with the name a mount would have."""

    def do_setup(self, context: Any) -> None:
        """As NFS's, without asking for mount.nfs."""
        remotefs.RemoteFSSnapDriverDistributed.do_setup(self, context)
        self.shares: dict[str, Any] = {}
        self.set_nas_security_options(self._is_voldb_empty_at_startup)

    def _ensure_share_mounted(self, nfs_share: str) -> None:
        os.makedirs(self._get_mount_point_for_share(nfs_share), exist_ok=True)
