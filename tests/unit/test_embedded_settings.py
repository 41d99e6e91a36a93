"""What a broker is told, and what is made of its last words."""

import base64
import socket
from pathlib import Path

import pytest

from connectors.embedded.broker import KafkaBroker
from connectors.embedded.folder import BrokerFolder
from connectors.embedded.host import LOOPBACK, free_port, require_free_port, require_room
from connectors.embedded.java import Java
from connectors.embedded.settings import (
    broker_command,
    broker_properties,
    front,
    new_cluster_id,
)
from schemas.errors import BrokerStartError, ConfigError, DiskSpaceError, PortInUseError

JAVA = Java(Path("/java/bin/java"), 17)


def test_a_broker_listens_on_loopback_only_and_names_no_path() -> None:
    lines = dict(line.split("=", 1) for line in broker_properties(9092, 9093, {}).splitlines())

    assert lines["listeners"] == "PLAINTEXT://127.0.0.1:9092,CONTROLLER://127.0.0.1:9093"
    assert lines["controller.quorum.voters"] == "1@127.0.0.1:9093"
    assert lines["auto.create.topics.enable"] == "false"
    assert lines["log.dirs"] == "log"


def test_settings_go_over_our_defaults_but_not_over_what_makes_it_ours() -> None:
    chosen = {"num.partitions": "9", "background.threads": "2"}
    lines = broker_properties(9092, 9093, chosen).splitlines()

    assert "num.partitions=9" in lines
    assert "background.threads=2" in lines
    assert len(lines) == len({line.split("=")[0] for line in lines})
    with pytest.raises(ConfigError, match=r"settings\[log.dirs\] = '/x'"):
        broker_properties(9092, 9093, {"log.dirs": "/x"})


def test_a_listener_behind_a_proxy_comes_beside_our_own() -> None:
    text = broker_properties(9092, 9093, front(9094, 9095))
    lines = dict(line.split("=", 1) for line in text.splitlines())

    assert lines["listeners"].endswith(",FRONT://127.0.0.1:9094")
    assert lines["advertised.listeners"] == ("PLAINTEXT://127.0.0.1:9092,FRONT://127.0.0.1:9095")
    assert lines["listener.security.protocol.map"].endswith(",FRONT:PLAINTEXT")
    assert lines["inter.broker.listener.name"] == "PLAINTEXT"


def test_properties_are_escaped_as_java_reads_them() -> None:
    written = broker_properties(9092, 9093, {"a": "c:\\x\ny\N{SNOWMAN}\N{GRINNING FACE}ü"})

    assert written.endswith("a=c:\\\\x\\ny\\u2603\\ud83d\\ude00ü\n")


def test_a_cluster_id_is_22_characters_and_never_looks_like_an_option() -> None:
    drawn = iter([b"\xf8" * 16, b"\x01" * 16])
    identifier = new_cluster_id(lambda _count: next(drawn))

    assert base64.urlsafe_b64decode(identifier + "==") == b"\x01" * 16
    assert len(identifier) == 22


def test_an_older_java_gets_no_flag_it_does_not_know() -> None:
    old = broker_command(JAVA, [Path("/a.jar")], Path("/data"), 9092)
    new = broker_command(Java(JAVA.executable, 25), [Path("/a.jar")], Path("/data"), 9092)

    assert set(new) - set(old) == {
        "--sun-misc-unsafe-memory-access=allow",
        "--enable-native-access=ALL-UNNAMED",
    }
    assert old[-2:] == ["kafka.Kafka", "broker.properties"]
    assert "-Ddwcp.data=/data" in old


def test_last_words_are_those_of_this_start_and_bounded(tmp_path: Path) -> None:
    folder = BrokerFolder.at(tmp_path)
    folder.make()
    folder.server_log_path.write_text("of an earlier start\n")
    start = folder.log_size_bytes()
    with folder.server_log_path.open("a") as file:
        file.writelines(f"line {n} {'x' * 1_000}\n" for n in range(100))
    folder.console_path.write_text("Error: no memory\n")
    lines = folder.last_words(start).splitlines()

    assert len(lines) == 12
    assert lines[-1].startswith("line 99 ")
    assert all(len(line) <= 240 for line in lines)


@pytest.mark.parametrize(
    ("words", "kind"),
    [
        ("Socket server failed to bind to 127.0.0.1:9092: Address already in use.", PortInUseError),
        ("java.io.IOException: No space left on device", DiskSpaceError),
        ("ConfigException: Invalid value 0 for num.io.threads", BrokerStartError),
    ],
)
def test_a_failed_start_is_named_by_the_brokers_own_words(
    tmp_path: Path, words: str, kind: type[Exception]
) -> None:
    folder = BrokerFolder.at(tmp_path)
    folder.make()
    folder.server_log_path.write_text(words)
    error = folder.explain("ended with exit code 1", 0)

    assert type(error) is kind
    assert ("9092" in str(error)) == (kind is PortInUseError)


def test_a_port_is_taken_while_somebody_listens_there() -> None:
    port = free_port()
    require_free_port(port)
    taken = pytest.raises(PortInUseError, match=f"port {port} on 127.0.0.1 is taken")
    with socket.create_server((LOOPBACK, port)), taken:
        require_free_port(port)

    require_free_port(port)


def test_room_is_asked_of_the_nearest_folder_there_is(tmp_path: Path) -> None:
    missing = tmp_path / "not" / "there"
    require_room(missing, 1)

    with pytest.raises(DiskSpaceError, match="make room there"):
        require_room(missing, 1 << 60)


async def test_a_folder_that_cannot_be_written_is_an_error(tmp_path: Path) -> None:
    with pytest.raises(BrokerStartError, match="cannot write"):
        await KafkaBroker(_file_in(tmp_path) / "data", port=free_port()).start()


def _file_in(folder: Path) -> Path:
    (folder / "file").write_text("no folder")
    return folder / "file"
