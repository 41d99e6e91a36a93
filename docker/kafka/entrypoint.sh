#!/bin/sh
# Write broker properties from KAFKA_* variables, format new data, run the broker.
# KAFKA_LOG_DIRS is log.dirs: "_" stands for ".", "__" for "_", "___" for "-".
set -eu

: "${CLUSTER_ID:?name the cluster: 22 characters of URL-safe base64}"
properties=/tmp/server.properties
env | while IFS='=' read -r name value; do
  case "$name" in
    KAFKA_HEAP_OPTS) ;;
    KAFKA_*)
      key=$(printf '%s' "${name#KAFKA_}" | sed 's/___/-/g; s/__/:/g; s/_/./g; s/:/_/g')
      printf '%s=%s\n' "$(printf '%s' "$key" | tr '[:upper:]' '[:lower:]')" "$value"
      ;;
  esac
done > "$properties"

set -- java -XX:+UseSerialGC -XX:TieredStopAtLevel=1 -Dlog4j2.configurationFile=log4j2.properties \
  --sun-misc-unsafe-memory-access=allow --enable-native-access=ALL-UNNAMED -cp '/kafka/libs/*'
"$@" kafka.tools.StorageTool format --ignore-formatted -t "$CLUSTER_ID" -c "$properties"
# Options of the heap are words.
# shellcheck disable=SC2086
exec "$@" $KAFKA_HEAP_OPTS kafka.Kafka "$properties"
