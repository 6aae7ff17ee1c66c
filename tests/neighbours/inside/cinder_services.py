# SPDX-License-Identifier: Apache-2.0
"""python cinder_services.py --config-file FILE: Cinder's API, scheduler and volume service in one process.

So that oslo.messaging's `fake://`, which reaches no other process, carries what they say to each other.
"""

from __future__ import annotations

from cinder import monkey_patch

monkey_patch.patch()

import sys  # noqa: E402
import threading  # noqa: E402

from cinder import coordination, i18n, objects, rpc, service, version  # noqa: E402
from cinder.common import config  # noqa: E402
from oslo_config import cfg  # noqa: E402
from oslo_log import log  # noqa: E402

i18n.enable_lazy()


class Service(service.Service):  # type: ignore[misc]
    """One of several in a process: Cinder keeps whose heart beats in a variable of the class."""

    def report_state(self) -> None:
        """The heartbeat."""
        service.Service.service_id = self.origin_service_id
        super().report_state()


def main() -> None:
    """Until SIGTERM."""
    conf = cfg.CONF
    objects.register_all()
    conf(sys.argv[1:], project="cinder", version=version.version_string())
    log.setup(conf, "cinder")
    config.set_middleware_defaults()
    rpc.init(conf)
    for backend in conf.enabled_backends:
        conf.register_opt(cfg.StrOpt("backend_host"), group=backend)
        volumes = Service.create(
            host=f"{conf.host}@{backend}", service_name=backend, binary="cinder-volume", coordination=True
        )
        volumes.start()
    Service.create(binary="cinder-scheduler").start()
    api = service.WSGIService("osapi_volume")
    coordination.COORDINATOR.start()
    api.start()
    threading.Event().wait()


if __name__ == "__main__":
    main()
