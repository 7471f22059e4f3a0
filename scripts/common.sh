# shellcheck shell=bash
# Every script of this folder sources this file: the paths of files, and functions for messages,
# failures, secrets and connections. It is not run by itself.

set -euo pipefail

ROOT=$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)
CACHE=${XDG_CACHE_HOME:-$HOME/.cache}/helixstream
# Kafka is not 4.3.0, 4.3.1 or 4.4.0: a broker of these versions that starts again may forget to end
# transactions, and the records after them in a partition are hidden for ever (KAFKA-20734). This
# happened in about half of the runs of the test that kills a broker (tests/pipeline) on a busy
# machine.
KAFKA_VERSION=4.2.2
KAFKA_LOG4J_VERSION=2.24.3
KAFKA_LIBS=$CACHE/kafka/libs
REGISTRY_VERSION=3.0.9
REGISTRY_LIBS=$CACHE/registry/libs
# scripts/go-toolchain fetches Go from Go's module proxy where the machine has none that is new
# enough.
GO_VERSION=1.24.11
GO_SHA256=8a9685c09d449928863152512648530dafde05e7d41fcbb21baba3a852e84ef4
GO_HOME=$CACHE/go
# Kafka's own log4j configuration is not part of its jars. This one logs warnings and worse to
# standard error.
KAFKA_LOG4J=$ROOT/scripts/kafka-log4j2.properties

say() { printf '%s\n' "$*"; }
warn() { printf '%s\n' "$*" >&2; }

# die MESSAGE...: says what is wrong on standard error and ends the script with 1.
die() {
    warn "error: $*"
    exit 1
}

have() { command -v "$1" >/dev/null 2>&1; }

# as_root COMMAND...: runs the command as root, by sudo where this user is not root.
as_root() {
    if [ "$(id -u)" -eq 0 ]; then
        "$@"
    elif have sudo; then
        sudo "$@"
    else
        die "'$*' needs root: run it yourself as root, or install sudo"
    fi
}

# secret NAME: prints the value of the variable NAME, or the content of the file whose path is in
# NAME_FILE, without its line end. It prints nothing where neither is set.
secret() {
    local file=$1_FILE
    if [ -n "${!1:-}" ]; then
        [ -z "${!file:-}" ] || die "$1 and $file are both set: set one of them"
        printf %s "${!1}"
    elif [ -n "${!file:-}" ]; then
        cat "${!file}" || die "the secret file ${!file}, which $file names, cannot be read: its message is above"
    fi
}

# java_tool HEAP CLASS ARGS...: runs a class of Kafka's jars. Since Kafka 4.0 its clients send no
# request to a token endpoint that the property below does not allow.
java_tool() {
    local heap=$1 class=$2 options=()
    shift 2
    [ -z "${HELIXSTREAM_KAFKA_OAUTH_TOKEN_ENDPOINT_URL:-}" ] ||
        options=("-Dorg.apache.kafka.sasl.oauthbearer.allowed.urls=$HELIXSTREAM_KAFKA_OAUTH_TOKEN_ENDPOINT_URL")
    java -Xmx"$heap" -XX:TieredStopAtLevel=1 -Dlog4j2.configurationFile="$KAFKA_LOG4J" "${options[@]}" -cp "$KAFKA_LIBS/*" "$class" "$@"
}

# jaas_text TEXT: prints it as a string of a JAAS configuration, in quotes.
jaas_text() {
    local text=${1//\\/\\\\}
    printf '"%s"' "${text//\"/\\\"}"
}

# property NAME VALUE: prints a line of a Java properties file. Java reads such files as Latin-1, so
# all but plain characters are escaped.
property() {
    local LC_ALL=C.UTF-8 value=$2 index char code
    printf '%s=' "$1"
    for ((index = 0; index < ${#value}; index++)); do
        char=${value:index:1}
        case $char in
            [A-Za-z0-9/._-]) printf %s "$char" ;;
            *)
                code=$(printf %d "'$char")
                if [ "$code" -gt 65535 ]; then
                    printf '\\u%04x\\u%04x' $((0xd800 + ((code - 0x10000) >> 10))) $((0xdc00 + ((code - 0x10000) & 0x3ff)))
                else
                    printf '\\u%04x' "$code"
                fi
                ;;
        esac
    done
    echo
}

# java_client_config FILE: writes the configuration with which Kafka's Java tools connect as
# helixstream does by its variables HELIXSTREAM_KAFKA_...; FILE holds secrets, and only its owner
# may read it. FILE stays empty where the connection is in plain text. The function fails where
# tokens come by another way than client credentials, since these tools know no other. It ignores
# the variable HELIXSTREAM_X, which holds settings of librdkafka.
java_client_config() {
    local file=$1 security=${HELIXSTREAM_KAFKA_SECURITY:-plaintext}
    (umask 077 && : >"$file")
    [ "${security,,}" != plaintext ] || return 0
    {
        property security.protocol "${security^^}"
        java_tls_config "$file" && java_sasl_config
    } >>"$file"
}

java_tls_config() {
    local file=$1 password
    if [ -n "${HELIXSTREAM_KAFKA_CA_FILE:-}" ]; then
        property ssl.truststore.type PEM
        property ssl.truststore.location "$(realpath "$HELIXSTREAM_KAFKA_CA_FILE")"
    fi
    [ -n "${HELIXSTREAM_KAFKA_CERTIFICATE_FILE:-}" ] || return 0
    # Java 17 opens no key that OpenSSL has encrypted (PBES2), so the key is written decrypted. This
    # exposes no more than a password in FILE would, since both files have the same reader.
    password=$(secret HELIXSTREAM_KAFKA_KEY_PASSWORD)
    (umask 077 && password=$password openssl pkey -passin env:password -in "$HELIXSTREAM_KAFKA_KEY_FILE" >"$file.pem") ||
        die "the private key $HELIXSTREAM_KAFKA_KEY_FILE cannot be opened: the message of openssl is above"
    cat "$HELIXSTREAM_KAFKA_CERTIFICATE_FILE" >>"$file.pem"
    property ssl.keystore.type PEM
    property ssl.keystore.location "$file.pem"
}

java_sasl_config() {
    local mechanism=${HELIXSTREAM_KAFKA_MECHANISM:-} modules=org.apache.kafka.common.security password options
    mechanism=${mechanism^^}
    [ -n "$mechanism" ] || return 0
    property sasl.mechanism "$mechanism"
    case $mechanism in
        PLAIN | SCRAM-*)
            password=$(secret HELIXSTREAM_KAFKA_PASSWORD)
            options="username=$(jaas_text "${HELIXSTREAM_KAFKA_USER:-}") password=$(jaas_text "$password")"
            case $mechanism in
                PLAIN) property sasl.jaas.config "$modules.plain.PlainLoginModule required $options;" ;;
                *) property sasl.jaas.config "$modules.scram.ScramLoginModule required $options;" ;;
            esac
            ;;
        OAUTHBEARER)
            [ -n "${HELIXSTREAM_KAFKA_OAUTH_TOKEN_ENDPOINT_URL:-}" ] || return 1
            password=$(secret HELIXSTREAM_KAFKA_OAUTH_CLIENT_SECRET)
            property sasl.oauthbearer.client.credentials.client.id "${HELIXSTREAM_KAFKA_OAUTH_CLIENT_ID:-}"
            property sasl.oauthbearer.client.credentials.client.secret "$password"
            [ -z "${HELIXSTREAM_KAFKA_OAUTH_SCOPE:-}" ] || property sasl.oauthbearer.scope "$HELIXSTREAM_KAFKA_OAUTH_SCOPE"
            options=required
            [ -z "${HELIXSTREAM_KAFKA_OAUTH_CA_FILE:-}" ] ||
                options+=" ssl.truststore.type=\"PEM\" ssl.truststore.location=$(jaas_text "$(realpath "$HELIXSTREAM_KAFKA_OAUTH_CA_FILE")")"
            property sasl.login.callback.handler.class "$modules.oauthbearer.OAuthBearerLoginCallbackHandler"
            property sasl.oauthbearer.token.endpoint.url "$HELIXSTREAM_KAFKA_OAUTH_TOKEN_ENDPOINT_URL"
            property sasl.jaas.config "$modules.oauthbearer.OAuthBearerLoginModule $options;"
            ;;
        *) return 1 ;;
    esac
}

# percent_decoded TEXT: prints a part of a URL with its percent-encoding undone.
percent_decoded() {
    local text=${1//\\/\\\\}
    printf %b "${text//%/\\x}"
}

# take_passwords_out URL: sets OPEN_URL, which is the Postgres URL without its passwords, and
# URL_PASSWORD and URL_KEY_PASSWORD (`sslpassword`). The URL is parsed as libpq parses it: the text
# before the first @ is user and password, if no / comes before that.
take_passwords_out() {
    local rest=${1#*://} credentials pair pairs=() kept=
    URL_PASSWORD='' URL_KEY_PASSWORD='' OPEN_URL=${1%%://*}://
    credentials=${rest%%[@/]*}
    if [ "${rest:${#credentials}:1}" = @ ]; then
        rest=${rest:${#credentials}+1}
        OPEN_URL+=${credentials%%:*}@
        case $credentials in *:*) URL_PASSWORD=$(percent_decoded "${credentials#*:}") ;; esac
    fi
    OPEN_URL+=${rest%%\?*}
    case $rest in *\?*) IFS='&' read -r -a pairs <<<"${rest#*\?}" ;; esac
    for pair in "${pairs[@]}"; do
        case $(percent_decoded "${pair%%=*}") in
            password) URL_PASSWORD=$(percent_decoded "${pair#*=}") ;;
            sslpassword) URL_KEY_PASSWORD=$(percent_decoded "${pair#*=}") ;;
            *) kept+=${kept:+&}$pair ;;
        esac
    done
    OPEN_URL+=${kept:+?$kept}
}

# psql_at URL ARGS...: runs psql in the database of a URL. The password of
# HELIXSTREAM_POSTGRES_PASSWORD or of its file has precedence over that of the URL. Passwords are
# passed by the environment, and that of a key by a service file, since every user of the machine
# can read the arguments of a process.
psql_at() (
    take_passwords_out "$1"
    shift
    password=$(secret HELIXSTREAM_POSTGRES_PASSWORD)
    password=${password:-$URL_PASSWORD}
    [ -z "$password" ] || export PGPASSWORD=$password
    if [ -n "$URL_KEY_PASSWORD" ]; then
        folder=$(mktemp -d)
        trap 'rm -rf "$folder"' EXIT
        printf '[helixstream]\nsslpassword=%s\n' "$URL_KEY_PASSWORD" >"$folder/services"
        export PGSERVICEFILE=$folder/services PGSERVICE=helixstream
    fi
    psql -X -q -d "$OPEN_URL" "$@"
)
