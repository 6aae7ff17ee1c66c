# SPDX-License-Identifier: Apache-2.0
"""python serve.py MODULE PORT: the WSGI `application` of a module of Keystone's, Glance's or Neutron's, under gunicorn.

Run by the Python of .venv-neighbours. They read sys.argv when they are imported, so gunicorn's own command
will not do.
"""

from __future__ import annotations

import importlib
import sys
from typing import Any

from gunicorn.app.base import BaseApplication


class _Server(BaseApplication):
    def __init__(self, module: str, port: str) -> None:
        self._module, self._port = module, port
        super().__init__()

    def load_config(self) -> None:
        for name, value in {"bind": f"127.0.0.1:{self._port}", "worker_class": "gthread", "threads": 4}.items():
            self.cfg.set(name, value)
        if "control_socket_disable" in self.cfg.settings:
            self.cfg.set("control_socket_disable", True)

    def load(self) -> Any:
        return importlib.import_module(self._module).application


if __name__ == "__main__":
    _, module, port = sys.argv
    del sys.argv[1:]
    _Server(module, port).run()
