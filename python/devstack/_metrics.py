"""What ``get_metrics()`` answers."""

from typing import Optional, TypedDict


class Metrics(TypedDict):
    """``None`` is what was not measured yet, or cannot be."""

    pid: int
    name: str
    #: From ``start()`` to now, or to the end; one decimal place, as all of them.
    uptime_seconds: float
    #: Of one core, over the last second.
    cpu_percent: Optional[float]
    #: Resident, in MB of 1024 × 1024 bytes.
    memory_mb: Optional[float]
    #: Of the machine's memory.
    memory_percent: Optional[float]
    num_threads: Optional[int]
    #: ``running``, ``stopping`` or ``stopped``.
    status: str
    heartbeat_age_seconds: Optional[float]
