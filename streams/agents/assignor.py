"""The consumer group's assignor: both folded topics of a partition go to the same node.

Faust would take aiokafka's round robin, which shares each topic out for itself, and moves most
partitions whenever a node comes or goes.
"""

from collections.abc import Callable, Iterable, Mapping
from typing import Any, Final

from aiokafka.coordinator.assignors.abstract import AbstractPartitionAssignor
from aiokafka.coordinator.protocol import (
    ConsumerProtocolMemberAssignment,
    ConsumerProtocolMemberMetadata,
)

from streams.agents.holding import FOLDED
from streams.sharing import Member, Owner, decode_owners, encode_owners, share

_VERSION: Final = 0


class SharingAssignor(AbstractPartitionAssignor):  # type: ignore[misc] # aiokafka is untyped
    """Shares partitions as `streams.sharing` does.

    Faust's consumer calls it from a thread of its own: what it reads and writes here are single
    references.

    Args:
        member: Says who we are and what we hold.
        partition_count: How many partitions DWCP is configured for; more are nobody's.

    Attributes:
        owners: Who owns each partition, as of the group's last generation.
    """

    name = "dwcp-sharing"

    def __init__(self, member: Callable[[], Member], partition_count: int) -> None:
        self._member = member
        self._partition_count = partition_count
        self.owners: Mapping[int, Owner] = {}

    def metadata(self, topics: Iterable[str]) -> Any:
        """Return what we say when we join."""
        return ConsumerProtocolMemberMetadata(_VERSION, list(topics), self._member().encode())

    def assign(self, cluster: Any, members: Mapping[str, Any]) -> dict[str, Any]:
        """Share out, as the group's leader."""
        del cluster  # a topic that is deleted, and perhaps made again, is for its holders to notice
        known = {one: Member.decode(said.user_data, one) for one, said in members.items()}
        shares = share({one: member.holds for one, member in known.items()}, self._partition_count)
        owners = encode_owners(known, shares)
        return {
            one: ConsumerProtocolMemberAssignment(
                _VERSION, [(topic, partitions) for topic in FOLDED], owners
            )
            for one, partitions in shares.items()
        }

    def on_assignment(self, assignment: Any) -> None:
        """Learn who owns what."""
        self.owners = decode_owners(assignment.user_data)
