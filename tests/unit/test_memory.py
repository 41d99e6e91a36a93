"""Large buffers stay in the process where glibc can be asked for it."""

import platform
import subprocess
import sys

from tests.support.repository import ROOT

SCRIPT = """
import resource
from transport.aio.memory import keep_large_buffers
kept = keep_large_buffers()
bytearray(1 << 18)
before = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
for _ in range(1_000):
    bytearray(1 << 18)
print(kept, resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before)
"""


def test_a_buffer_that_is_used_again_costs_no_page_faults_on_glibc() -> None:
    """A thousand times 256 KiB: mapped anew each time, they would be 64,000 faults."""
    done = subprocess.run(
        [sys.executable, "-c", SCRIPT], cwd=ROOT, capture_output=True, text=True, check=True
    )
    kept, faults = done.stdout.split()

    assert kept == str(platform.libc_ver()[0] == "glibc")
    assert kept == "False" or int(faults) < 1_000
