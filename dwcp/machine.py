"""What figures depend on, for every report: of the command and of the benchmarks."""

import os
import platform
from importlib.metadata import version
from typing import Any


def machine(*libraries: str, **more: Any) -> dict[str, Any]:
    """Return the machine, its load, versions of `libraries`, and `more`."""
    return {
        "python": platform.python_version(),
        "system": platform.platform(),
        "cores": os.cpu_count(),
        "load": round(os.getloadavg()[0], 2),
        **{name: version(name) for name in libraries},
        **more,
    }
