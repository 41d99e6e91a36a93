"""Who gets in where: builds what a configuration says about links, HTTP and Kafka."""

import ssl
from typing import Any, Final, Literal

import structlog

from dwcp.config import KafkaConfig, RegionConfig
from dwcp.config_access import KafkaClientConfig, WebConfig
from schemas.errors import ConfigError
from streams.web.access import AccessSettings, Right
from streams.web.bounds import WebLimits
from streams.web.guard import Guard, GuardSettings
from transport.aio.reloaded import Reloaded
from transport.aio.tls import LinkTls, TlsFiles

log = structlog.get_logger(__name__)

EXPIRES_SOON_DAYS: Final = 14
_DAY_S: Final = 86_400


def link_tls(config: RegionConfig) -> LinkTls | None:
    """Return how links are encrypted; None, said loudly, when they are not.

    Raises:
        ConfigError: A file cannot be used.
    """
    files = config.link.tls
    if files.ca is not None and files.cert is not None and files.key is not None:
        tls = LinkTls(TlsFiles(files.ca, files.cert, files.key), config.cluster, config.region)
        days_left = tls.to_json()["expires_in_s"] / _DAY_S
        if days_left < EXPIRES_SOON_DAYS:  # a node that runs may be renewed: it is no reason to end
            log.warning("link.certificate_ends", days_left=round(days_left, 1))
        return tls
    if config.is_linked:
        log.warning(
            "link.PLAIN",
            listen=config.link.listen,
            text="links are NOT encrypted and peers prove nothing: whoever reaches this port reads "
            "and writes our state (link.plain: true; `dwcp certs` makes certificates)",
        )
    return None


def kafka_client(kafka: KafkaConfig) -> dict[str, Any]:
    """Return aiokafka's settings of a region's Kafka.

    Raises:
        ConfigError: A file or the password cannot be used.
    """
    client = kafka.client
    settings: dict[str, Any] = {
        "bootstrap_servers": kafka.bootstrap or f"127.0.0.1:{kafka.port}",
        "security_protocol": client.security_protocol,
    }
    if client.is_encrypted:
        settings["ssl_context"] = _kafka_context(client)
    if client.is_sasl:
        settings |= {
            "sasl_mechanism": client.sasl_mechanism,
            "sasl_plain_username": client.username,
            "sasl_plain_password": client.password.read("kafka.client.password"),
        }
    if not client.is_encrypted and client.is_sasl:
        log.warning("kafka.PLAIN", text="name and records travel unencrypted: SASL_SSL")
    return settings


def _kafka_context(client: KafkaClientConfig) -> ssl.SSLContext:
    try:
        context = ssl.create_default_context(cafile=client.ca)
        context.check_hostname = client.check_hostname
        if client.cert is not None:
            context.load_cert_chain(client.cert, client.key, password=lambda: "")
    except (OSError, ValueError) as error:
        shown = ", ".join(str(path) for path in (client.ca, client.cert, client.key) if path)
        raise ConfigError("kafka.client.ca", shown, f"give readable PEM files ({error})") from error
    return context


def web_guard(config: RegionConfig) -> Guard:
    """Return what guards the web server.

    Raises:
        ConfigError: A token or a file cannot be used.
    """
    web = config.web
    rights: tuple[Literal["read", "write"], ...] = ("read", "write")
    found = {Right(right): web.token(right) for right in rights}
    tokens = {right: token for right, token in found.items() if token is not None}
    if not web.is_local and web.tls.cert is None:
        log.warning("web.PLAIN", bind=web.bind, text="tokens and state travel unencrypted: web.tls")
    return Guard(
        GuardSettings(
            (web.bind, web.port),
            AccessSettings(config.cluster, tokens, takes_certificates=web.tls.ca is not None),
            WebLimits(web.connections_max, web.reads_max, web.writes_max),
            _web_contexts(web).get if web.tls.cert is not None else None,
        )
    )


def _web_contexts(web: WebConfig) -> Reloaded[ssl.SSLContext]:
    paths = [path for path in (web.tls.cert, web.tls.key, web.tls.ca) if path is not None]
    return Reloaded("web.tls", paths, lambda: _web_context(web))


def _web_context(web: WebConfig) -> ssl.SSLContext:
    tls = web.tls
    assert tls.cert is not None, "the configuration was checked"
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    try:
        context.load_cert_chain(tls.cert, tls.key, password=lambda: "")
        if tls.ca is not None:
            context.load_verify_locations(tls.ca)
            context.verify_mode = ssl.CERT_OPTIONAL  # a token does as well
            context.num_tickets = 0  # a resumed session would outlive a change of authority
    except (OSError, ValueError) as error:
        remedy = f"give readable PEM files that belong together ({error})"
        raise ConfigError("web.tls", str(tls.cert), remedy) from error
    return context


def neighbour_context(web: WebConfig) -> ssl.SSLContext | None:
    """Return how a node checks its region's other nodes; None: they are plain.

    What our own server shows is trusted, too: nodes may share a certificate that nobody signed.
    """
    if web.tls.cert is None:
        return None
    context = ssl.create_default_context()
    for path in (web.tls.ca, web.tls.cert):
        if path is not None:
            context.load_verify_locations(path)
    return context
