"""One log format for every process: UTC, on stderr."""

import logging
import time


def configure(level: str) -> None:
    """`level` is a name that `logging` knows, such as INFO."""
    logging.Formatter.converter = time.gmtime
    logging.basicConfig(
        level=level,
        format="%(asctime)s.%(msecs)03dZ %(levelname)s %(message)s",
        datefmt="%Y-%m-%dT%H:%M:%S",
    )
