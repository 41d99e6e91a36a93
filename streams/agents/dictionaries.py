"""Dictionaries of a node outlive it: they stand in `dwcp.baselines`, each under its node's name.

A flow that begins with a dictionary needs it on both ends. So a node keeps what it trained and what
peers sent it, and holds both again after a restart; what other nodes hold is not its business.
"""

import time
from typing import Any, Final

import structlog

from connectors.log import Log, NewRecord
from schemas.errors import BadUnitError, LogError
from schemas.registry import Record, encode_event
from streams import topics
from streams.baselines.anchors import name_bytes
from transport.hde.dictionary import Dictionaries
from transport.hde.unit import content_hash

log = structlog.get_logger(__name__)

_KEY: Final = b"dictionary/"


class DictionaryDirectory:
    """What one node holds of dictionaries, and what stands of it in the topic.

    Args:
        dictionaries: Of the node.
        region: Ours.
        node: Our name.
        log_: The region's log.
    """

    def __init__(self, dictionaries: Dictionaries, region: str, node: str, log_: Log) -> None:
        self.dictionaries = dictionaries
        self._region = region
        self._node = node
        self._log = log_
        self._kept: set[int] = set()

    def on_record(self, record: Record) -> None:
        """Hold again what we held before a restart.

        Args:
            record: A `Dictionary`, of any node.

        Raises:
            BadUnitError: It is not what its name says.
        """
        if (record["region"], record["node"]) != (self._region, self._node):
            return
        name = int.from_bytes(record["name"], "big")
        if content_hash(record["content"]) != name:
            raise BadUnitError(f"dictionary {name:016x} is not what its name says")
        self._kept.add(name)
        self.dictionaries.restore(record["content"], record["ratio"])

    async def keep(self) -> None:
        """Write what is new, and delete what was given up; what fails is tried the next time."""
        held = self.dictionaries.held()
        new = [name for name in held if name not in self._kept]
        gone = [name for name in self._kept if name not in held]
        if not new and not gone:
            return
        now_ms = time.time_ns() // 1_000_000
        records = [NewRecord(self._key(name), None) for name in gone]
        records += [self._record(name, held[name], now_ms) for name in new]
        try:
            await self._log.append(topics.BASELINES, 0, records)
        except LogError as error:
            log.warning("dictionary.not_kept", error=str(error))
            return
        self._kept = set(held)

    def to_json(self) -> list[dict[str, Any]]:
        """List what is held."""
        newest = self.dictionaries.newest
        return [
            {"name": f"{name:016x}", "bytes": len(content), "is_ours": name == newest}
            for name, content in self.dictionaries.held().items()
        ]

    def _key(self, name: int) -> bytes:
        return _KEY + self._node.encode() + b"/" + name_bytes(name)

    def _record(self, name: int, content: bytes, now_ms: int) -> NewRecord:
        record = {
            "name": name_bytes(name),
            "region": self._region,
            "node": self._node,
            "created_ms": now_ms,
            "ratio": self.dictionaries.ratio if name == self.dictionaries.newest else 0.0,
            "content": content,
        }
        return NewRecord(self._key(name), encode_event("Dictionary", record))
