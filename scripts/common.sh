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
# Taken from Go's module proxy where the machine has none that is new enough: see scripts/go-toolchain.
GO_VERSION=1.24.11
GO_SHA256=8a9685c09d449928863152512648530dafde05e7d41fcbb21baba3a852e84ef4
GO_HOME=$CACHE/go
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

# jaas_text TEXT: prints it as it stands between the quotes of a JAAS string in a properties file, so escaped twice.
jaas_text() {
    local text=${1//\\/\\\\}
    text=${text//\"/\\\"}
    printf %s "${text//\\/\\\\}"
}

# java_client_config FILE: writes what Kafka's Java tools need to connect as helixstream does by its variables HELIXSTREAM_KAFKA_...; FILE holds a
# secret, and only its owner may read it. Nothing is written where the connection is in plain text. Fails for OAUTHBEARER, which these tools are not
# given tokens for.
java_client_config() {
    local file=$1 security=${HELIXSTREAM_KAFKA_SECURITY:-plaintext} mechanism=${HELIXSTREAM_KAFKA_MECHANISM:-} module user password
    (umask 077 && : >"$file")
    [ "${security,,}" != plaintext ] || return 0
    printf 'security.protocol=%s\n' "${security^^}" >>"$file"
    if [ -n "${HELIXSTREAM_KAFKA_CA_FILE:-}" ]; then
        printf 'ssl.truststore.type=PEM\nssl.truststore.location=%s\n' "$(realpath "$HELIXSTREAM_KAFKA_CA_FILE")" >>"$file"
    fi
    if [ -n "${HELIXSTREAM_KAFKA_CERTIFICATE_FILE:-}" ]; then
        (umask 077 && cat "$HELIXSTREAM_KAFKA_KEY_FILE" "$HELIXSTREAM_KAFKA_CERTIFICATE_FILE" >"$file.pem")
        printf 'ssl.keystore.type=PEM\nssl.keystore.location=%s\n' "$file.pem" >>"$file"
    fi
    case ${mechanism^^} in
        "") return 0 ;;
        PLAIN) module=plain.PlainLoginModule ;;
        SCRAM-*) module=scram.ScramLoginModule ;;
        *) return 1 ;;
    esac
    password=${HELIXSTREAM_KAFKA_PASSWORD:-}
    [ -z "${HELIXSTREAM_KAFKA_PASSWORD_FILE:-}" ] || password=$(cat "$HELIXSTREAM_KAFKA_PASSWORD_FILE")
    user=$(jaas_text "${HELIXSTREAM_KAFKA_USER:-}")
    password=$(jaas_text "$password")
    printf 'sasl.mechanism=%s\nsasl.jaas.config=org.apache.kafka.common.security.%s required username="%s" password="%s";\n' \
        "${mechanism^^}" "$module" "$user" "$password" >>"$file"
}
