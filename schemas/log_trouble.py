"""Errors of logs that are not what they were; the rest of the tree is in `schemas.errors`."""

from typing import Final

from schemas.errors import DwcpError

HINT: Final = "see docs/log-trouble.md"


class LogTroubleError(DwcpError):
    """A partition's log is not what it was: nothing of it goes on before a human has decided.

    The ways out are in docs/log-trouble.md.
    """

    def __init__(self, topic: str, partition: int, text: str) -> None:
        hint = "" if HINT in text else f"; {HINT}"
        super().__init__(f"{topic}/{partition}: {text}{hint}")
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


class LogStoppedError(LogTroubleError):
    """Trouble that was found earlier, by this node or another: an operator has not decided yet."""

    def __init__(self, partition: int, found: dict[str, str]) -> None:
        topic, text = found.get("topic", ""), found.get("text", "")
        super().__init__(topic, partition, text.removeprefix(f"{topic}/{partition}: "))
        self._reason = found.get("reason", "LogStopped")

    @property
    def reason(self) -> str:
        """Name what was found."""
        return self._reason


class PartitionCountChangedError(LogTroubleError):
    """A topic has other partitions than DWCP is configured for: this one is nobody's."""

    def __init__(self, topic: str, partition: int, configured: int, found: int) -> None:
        text = f"{found} partitions, state.partition_count is {configured}: nobody folds this one"
        super().__init__(topic, partition, f"{text}; make new topics and produce anew")
