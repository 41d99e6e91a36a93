"""Errors of logs that are not what they were; the rest of the tree is in `schemas.errors`."""

from schemas.errors import DwcpError


class LogTroubleError(DwcpError):
    """A partition's log is not what it was: nothing of it goes on before a human has decided.

    The ways out are in docs/log-trouble.md.
    """

    def __init__(self, topic: str, partition: int, text: str) -> None:
        super().__init__(f"{topic}/{partition}: {text}; see docs/log-trouble.md")
        self.topic = topic
        self.partition = partition


class LogTruncatedError(LogTroubleError):
    """The log ends before what we have seen of it: its end was lost."""

    def __init__(self, topic: str, partition: int, seen: int, end: int) -> None:
        text = f"it ends at {end}, and we have seen it up to {seen}"
        super().__init__(topic, partition, text)


class RetentionOverrunError(LogTroubleError):
    """The log begins behind where we, or a peer, have to go on: records are gone unread."""

    def __init__(self, topic: str, partition: int, wanted: int, start: int) -> None:
        text = f"it begins at {start}, and {wanted} is wanted: {start - wanted:,} offsets are gone"
        super().__init__(topic, partition, text)


class TopicRecreatedError(LogTroubleError):
    """The topic was deleted and made again: its offsets mean other records now."""

    def __init__(self, topic: str, partition: int, known: str, found: str) -> None:
        super().__init__(topic, partition, f"it is topic {found} now, and was {known}")
