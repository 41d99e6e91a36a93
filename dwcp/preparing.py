"""What has to be there before a node starts: its folder and its topics."""

import structlog

from connectors.kafka import KafkaLog
from dwcp.config import RegionConfig
from schemas.errors import ConfigError
from streams.kafka_access import node_access
from streams.topics import TopicSettings, topic_specs

log = structlog.get_logger(__name__)


def make_data_dir(config: RegionConfig) -> None:
    """Make the node's folder.

    Raises:
        ConfigError: It cannot be made.
    """
    folder = config.data_dir
    try:
        (folder / "faust").mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise ConfigError("data_dir", str(folder), f"give a folder ({error})") from error


async def prepare_topics(config: RegionConfig, log_: KafkaLog) -> None:
    """Create what is missing, and say what is weaker than asked for.

    Raises:
        TopicMismatchError: A topic is there, but not as it has to be.
    """
    access, state = node_access(config.region), config.state
    settings = TopicSettings(state.partition_count, state.replication_factor, state.retention_hours)
    await log_.require_access(access)
    for warning in await log_.create_topics(topic_specs(settings)):
        log.warning("topic.weaker", text=warning)
    await log_.require_access(access)  # of new ones, too
