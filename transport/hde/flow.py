"""What a session knows of the encoding: one encoder and one decoder per flow."""

from transport.hde.window import (
    FLAG_KEY,
    UnitHeader,
    WindowDecoder,
    WindowEncoder,
    read_unit_header,
)

__all__ = ["FLAG_KEY", "FlowDecoder", "FlowEncoder", "UnitHeader", "read_unit_header"]


class FlowEncoder(WindowEncoder):
    """The sending end of a flow."""


class FlowDecoder(WindowDecoder):
    """The receiving end of a flow."""
