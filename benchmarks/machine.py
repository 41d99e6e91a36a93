"""What figures depend on, for every report."""

import os
import platform
from typing import Any


def machine(**more: Any) -> dict[str, Any]:
    """Return the machine, and `more`: versions that matter to one benchmark."""
    return {
        "python": platform.python_version(),
        "system": platform.platform(),
        "cores": os.cpu_count(),
        **more,
    }
