"""A worker that knows when to stop, says that it is alive, and answers for its health.

>>> from devstack import ProcessManager
>>> with ProcessManager("example", max_runtime_hours=24) as manager:
...     while manager.should_continue():
...         manager.heartbeat()
...         manager.request_shutdown("example")
>>> manager.shutdown_reason
'example'
"""

from ._health_check_server import HealthCheckServer
from ._metrics import Metrics
from ._native import __version__
from ._process_manager import ProcessManager

__all__ = ["HealthCheckServer", "Metrics", "ProcessManager", "__version__"]
