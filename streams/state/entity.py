"""One entity: a document register, and field registers newer than it.

Each register is last-writer-wins by `Version`. A put or delete writes the document register and
hides every field write that is older; a patch writes field registers. So whatever the order of
arrival, all replicas that saw the same writes hold the same registers: the state is a join
semilattice (Shapiro et al. 2011, LWW-element). A delete leaves its register as a tombstone; a
patch newer than it is kept but shows only when somebody puts the entity again, so that a
late counter does not bring half an entity back.
"""

import json
from typing import Any

import xxhash

from schemas.changes import JsonValue, Scalar, StateChange
from schemas.ids import Version
from schemas.patching import lay
from streams.state.bases import Bases

FINGERPRINT_MASK = (1 << 64) - 1


class Field:
    """A field's register."""

    __slots__ = ("hash", "is_removed", "value", "version")

    def __init__(
        self, version: Version, value: Scalar | JsonValue, *, is_removed: bool, hash_: int
    ) -> None:
        self.version = version
        self.value = value
        self.is_removed = is_removed
        self.hash = hash_


class Entity:
    """An entity's registers and what they add to the fingerprint.

    Attributes:
        version: Of the document register; None when only patched so far.
        document: JSON text; None when deleted or never put.
        newest: Version of the newest write seen, which also named the type.
        bases: What chained patches build on; None: nothing yet.
    """

    __slots__ = (
        "bases",
        "bucket",
        "document",
        "entity_id",
        "entity_type",
        "fields",
        "hash",
        "newest",
        "version",
    )

    def __init__(self, entity_id: str, bucket: int) -> None:
        self.entity_id = entity_id
        self.bucket = bucket
        self.entity_type = ""
        self.newest: Version | None = None
        self.version: Version | None = None
        self.document: str | None = None
        self.hash = 0
        self.fields: dict[str, Field] = {}
        self.bases: Bases | None = None

    @property
    def is_visible(self) -> bool:
        """Tell whether readers see the entity: put and not deleted since, or only patched."""
        if self.version is None:
            return bool(self.fields)
        return self.document is not None

    def apply(self, change: StateChange, version: Version) -> int | None:
        """Apply a checked change.

        Returns:
            What to add to the fingerprint, modulo 2^64; None when newer writes hide all of it.
        """
        if change["operation"] == "patch":
            added = self._apply_deltas(change, version)
        else:
            added = self.put(change["document"], version)
        self.name_type(change["entity_type"], version)
        return added

    def name_type(self, entity_type: str, version: Version) -> None:
        """Note who wrote last, which also names the type."""
        if self.newest is None or version > self.newest:
            self.newest = version
            self.entity_type = entity_type

    def put(self, document: str | None, version: Version) -> int | None:
        """Write the document register; None deletes."""
        if self.version is not None and version <= self.version:
            return None
        new_hash = xxhash.xxh3_64_intdigest(f"{self.entity_id}\0{version!a}\0{document}".encode())
        added = new_hash - self.hash
        self.version, self.document, self.hash = version, document, new_hash
        for path in [path for path, field in self.fields.items() if field.version < version]:
            added -= self.fields.pop(path).hash
        return added

    def _apply_deltas(self, change: StateChange, version: Version) -> int | None:
        added: int | None = None
        for delta in change["deltas"]:
            is_removed = delta["operation"] == "remove"
            one = self.set_field(delta["path"], delta["value"], version, is_removed=is_removed)
            if one is not None:
                added = one if added is None else added + one
        return added

    def set_field(
        self, path: str, value: Scalar | JsonValue, version: Version, *, is_removed: bool
    ) -> int | None:
        """Write one field's register; of two writes in one patch the later counts."""
        if self.version is not None and version < self.version:
            return None
        old = self.fields.get(path)
        if old is not None and version < old.version:
            return None
        text = f"{self.entity_id}\0{path}\0{version!a}\0{is_removed}\0{value!a}"
        new_hash = xxhash.xxh3_64_intdigest(text.encode())
        self.fields[path] = Field(version, value, is_removed=is_removed, hash_=new_hash)
        return new_hash - (old.hash if old is not None else 0)

    def materialise(self) -> dict[str, Any] | None:
        """Return the document that readers see, or None when there is none.

        Fields are laid over the document in the order of their versions.
        """
        if not self.is_visible:
            return None
        document: dict[str, Any] = json.loads(self.document) if self.document is not None else {}
        for path, field in sorted(self.fields.items(), key=lambda item: (item[1].version, item[0])):
            lay(document, path, field.value, is_removed=field.is_removed)
        return document
