"""Configuration of how a region's nodes work together."""

from typing import Self

from pydantic import BaseModel, ConfigDict, Field, model_validator

from schemas.errors import ConfigError


class GroupConfig(BaseModel):
    """How the nodes of a region share its partitions, by Kafka's consumer group."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    session_timeout_s: float = Field(
        6.0, ge=1, le=300, description="silence after which a node is expelled; Kafka: 6 to 1,800"
    )
    heartbeat_s: float = Field(
        0.5, ge=0.05, description="time between heartbeats; at most a third of the silence"
    )
    rebalance_timeout_s: float = Field(
        10.0, ge=1, le=300, description="how long the group waits for a node in a move"
    )
    transaction_timeout_s: float = Field(
        10.0,
        ge=1,
        le=900,
        description="how long a dead node's transaction may hold readers back, at most",
    )
    exactly_once: bool = Field(
        default=True, description="write in transactions; false only where the region has one node"
    )

    @model_validator(mode="after")
    def _check_heartbeat(self) -> Self:
        if self.session_timeout_s < 3 * self.heartbeat_s:
            remedy = "give at most a third of group.session_timeout_s"
            raise ConfigError("group.heartbeat_s", self.heartbeat_s, remedy)
        return self
