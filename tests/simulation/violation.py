"""A broken promise."""


class Violation(Exception):  # noqa: N818 - no fault of the simulation: it is what we look for
    """The system broke a promise.

    Args:
        check: Which one, in a few words that tables can show.
        detail: What was found instead.
    """

    def __init__(self, check: str, detail: object) -> None:
        super().__init__(f"{check}: {detail}")
        self.check = check
