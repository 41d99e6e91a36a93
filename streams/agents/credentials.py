"""How Faust's own clients get into Kafka: the settings of aiokafka in Faust's words."""

from collections.abc import Mapping
from typing import Any

import faust
from faust.auth import SASLCredentials, SSLCredentials


def use_credentials(app: faust.App, client: Mapping[str, Any]) -> None:
    """Give the app's consumer and producer what `client` says; before the app starts.

    Args:
        app: The app.
        client: aiokafka's settings, as `KafkaLog` takes them.
    """
    protocol, context = client.get("security_protocol", "PLAINTEXT"), client.get("ssl_context")
    if protocol.startswith("SASL"):
        app.conf.broker_credentials = SASLCredentials(
            username=client["sasl_plain_username"],
            password=client["sasl_plain_password"],
            mechanism=client["sasl_mechanism"],
            ssl_context=context,
        )
    elif protocol == "SSL":
        app.conf.broker_credentials = SSLCredentials(context)
