"""Whether a broker answers: a metadata answer of the right cluster that names a controller."""

import asyncio
from collections.abc import Callable
from typing import Final

from connectors.embedded.host import LOOPBACK

_POLL_S: Final = 0.05
_ANSWER_TIMEOUT_S: Final = 2.0


async def answers(port: int, cluster_id: str, timeout_s: float = _ANSWER_TIMEOUT_S) -> bool:
    """Ask the broker on a port of loopback for its metadata, once.

    Args:
        port: Where clients come in.
        cluster_id: Cluster that has to answer: a stranger on our port is not our broker.
        timeout_s: How long to wait for the answer, seconds.
    """
    from aiokafka.conn import create_conn  # noqa: PLC0415 - 0.1 s, not at every import of ours
    from aiokafka.errors import KafkaError  # noqa: PLC0415
    from aiokafka.protocol.metadata import MetadataRequest  # noqa: PLC0415

    try:
        async with asyncio.timeout(timeout_s):
            connection = await create_conn(LOOPBACK, port, client_id="dwcp-ready")
            try:
                answer = (await connection.send(MetadataRequest([]))).to_object()
            finally:
                connection.close()
    except (OSError, KafkaError, TimeoutError):
        return False
    controller = answer["controller_id"]
    named = any(broker["node_id"] == controller for broker in answer["brokers"])
    return named and answer["cluster_id"] == cluster_id


async def wait_until_ready(port: int, cluster_id: str, is_alive: Callable[[], bool]) -> bool:
    """Ask again and again; the caller bounds the time.

    Args:
        port: Where clients come in.
        cluster_id: Cluster that has to answer.
        is_alive: Whether the broker's process still runs.

    Returns:
        True once it answers, False if it ended before.
    """
    while is_alive():
        if await answers(port, cluster_id):
            return True
        await asyncio.sleep(_POLL_S)
    return False
