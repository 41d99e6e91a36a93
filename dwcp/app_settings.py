"""What a configuration says about the Faust application."""

from dwcp.config import RegionConfig
from streams.app import AppSettings


def app_settings(config: RegionConfig, bootstrap: str) -> AppSettings:
    """Return the settings of the node's Faust application."""
    return AppSettings(
        node=config.node_name,
        region=config.region,
        bootstrap=bootstrap,
        data_dir=str(config.data_dir / "faust"),
        web_bind=config.web.bind,
        web_port=config.web.port,
        web_url=config.web_url,
        snapshot_interval_s=config.state.snapshot_interval_s,
        session_timeout_s=config.group.session_timeout_s,
        heartbeat_s=config.group.heartbeat_s,
        rebalance_timeout_s=config.group.rebalance_timeout_s,
    )
