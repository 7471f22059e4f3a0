# shellcheck shell=bash
# What every script of this folder shares: where things lie, and how a message or a failure is said.
# Sourced, never run.

set -euo pipefail

ROOT=$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)
CACHE=${XDG_CACHE_HOME:-$HOME/.cache}/helixstream
# Not 4.3.0, 4.3.1 or 4.4.0: a broker of these that starts again may forget to end transactions, and what comes after them in a partition is hidden for
# ever (KAFKA-20734; about half of the runs of tests/pipeline's killed broker on a busy machine).
KAFKA_VERSION=4.2.2
KAFKA_LOG4J_VERSION=2.24.3
KAFKA_LIBS=$CACHE/kafka/libs
REGISTRY_VERSION=3.0.9
REGISTRY_LIBS=$CACHE/registry/libs
# Kafka's own log4j configuration is not part of its jars: this one goes to standard output, warnings and up.
KAFKA_LOG4J=$ROOT/scripts/kafka-log4j2.properties

say() { printf '%s\n' "$*"; }
warn() { printf '%s\n' "$*" >&2; }

# die MESSAGE...: says what is wrong on standard error and ends the script with 1.
die() {
    warn "error: $*"
    exit 1
}

have() { command -v "$1" >/dev/null 2>&1; }

# as_root COMMAND...: runs it as root, with sudo where we are not root.
as_root() {
    if [ "$(id -u)" -eq 0 ]; then
        "$@"
    elif have sudo; then
        sudo "$@"
    else
        die "'$*' needs root: run it yourself as root, or install sudo"
    fi
}

# java_tool HEAP CLASS ARGS...: runs a class of Kafka's jars.
java_tool() {
    local heap=$1 class=$2
    shift 2
    java -Xmx"$heap" -XX:TieredStopAtLevel=1 -Dlog4j2.configurationFile="$KAFKA_LOG4J" -cp "$KAFKA_LIBS/*" "$class" "$@"
}
