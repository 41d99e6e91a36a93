"""Write `jars.lock` anew: `python -m connectors.embedded.pin`, after changing a version here.

Mind the exclamation marks: without them jgo treats each coordinate as a bill of materials too,
and log4j's own then brings kafka-clients 3.9.1 under a 4.1.1 broker. With them the list is the
one that Maven itself resolves.
"""

import hashlib
import tempfile
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any, Final

from connectors.embedded.jars import KAFKA_VERSION

# log4j is the version that Kafka's own POM asks for; its slf4j binding is not in the POM.
_WANTED: Final = (
    f"org.apache.kafka:kafka_2.13:{KAFKA_VERSION}!",
    "org.apache.logging.log4j:log4j-slf4j-impl:2.24.3!",
)
_HEAD: Final = """\
# Jars of Apache Kafka and a log back end: coordinates, bytes, SHA-256.
# Made by `python -m connectors.embedded.pin`; change versions there.
"""


def main() -> None:
    """Resolve, fetch and hash all jars, and write the list."""
    from jgo.maven import MavenContext  # noqa: PLC0415 - as in jars.py

    def pin(artifact: Any) -> str:
        content = Path(artifact.resolve()).read_bytes()
        coordinates = f"{artifact.groupId}:{artifact.artifactId}:{artifact.version}"
        return f"{coordinates} {len(content)} {hashlib.sha256(content).hexdigest()}\n"

    with tempfile.TemporaryDirectory() as folder:
        context = MavenContext(repo_cache=Path(folder), timeout=30)
        asked = [context.create_dependency(wanted) for wanted in _WANTED]
        inputs, others = context.resolver.resolve(asked)
        with ThreadPoolExecutor(4) as pool:
            lines = sorted(pool.map(pin, [each.artifact for each in [*inputs, *others]]))
    Path(__file__).with_name("jars.lock").write_text(_HEAD + "".join(lines), "ascii")


if __name__ == "__main__":
    main()
