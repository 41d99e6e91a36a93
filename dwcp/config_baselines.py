"""The settings of baselines."""

from typing import Literal

from pydantic import Field

from dwcp.config_access import Section
from streams.agents.baselines import BaselineSettings

_INTERVALS_S = {"default": 300.0, "production": 180.0, "multi-region": 120.0}


class BaselineConfig(Section):
    """What both ends of a link hold before a flow begins, so that a new link is cheap, too."""

    preset: Literal["default", "production", "multi-region"] = Field(
        "default",
        description="a baseline every 5, 3 or 2 minutes",
    )
    interval_s: float | None = Field(
        None, ge=0, allow_inf_nan=False, description="instead of the preset's; 0: only on request"
    )
    documents_kib: int = Field(
        2_048,
        ge=1,
        le=8_192,
        description="documents of one baseline, the newest; costs CPU per new session",
    )
    memory_mib: int = Field(16, ge=1, le=1_024, description="baselines held of one region")
    chain_max: int = Field(10, ge=0, le=100, description="deltas after a whole one")

    @property
    def seconds(self) -> float:
        """Time between baselines; 0: only on request."""
        return _INTERVALS_S[self.preset] if self.interval_s is None else self.interval_s

    @property
    def limits(self) -> BaselineSettings:
        """What the node has to keep to."""
        return BaselineSettings(
            baseline_bytes=self.documents_kib << 10,
            memory_bytes=self.memory_mib << 20,
            chain_max=self.chain_max,
        )
