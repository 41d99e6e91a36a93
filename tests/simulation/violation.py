"""A broken promise, and how a schedule is tried for one."""

import traceback
from collections.abc import Callable


class Violation(Exception):  # noqa: N818 - no fault of the simulation: it is what we look for
    """The system broke a promise.

    Args:
        check: Which one, in a few words that tables can show.
        detail: What was found instead.
    """

    def __init__(self, check: str, detail: object) -> None:
        super().__init__(f"{check}: {detail}")
        self.check = check


def broken_promise(run: Callable[[], None]) -> tuple[str, str]:
    """Run a schedule; return which promise it broke, and how; empty when it kept them all."""
    try:
        run()
    except Violation as violation:
        return violation.check, str(violation)
    except Exception:  # noqa: BLE001 - whatever a core raises is a finding
        return "nothing crashes", traceback.format_exc(limit=-4)
    return "", ""
