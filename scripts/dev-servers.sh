# shellcheck shell=bash
# A Kafka broker and a PostgreSQL of the project's own, for `make run`, with their data under .dev/,
# where it is kept between runs. This file is sourced and not run by itself.
#
# Each server leads a session of its own, so that Ctrl-C reaches only this script, which stops them
# in order. The kernel ends them when this script is killed (kill -9).

DEV=$ROOT/.dev
# The children that run, the newest last, each as "pid signal name".
CHILDREN=()

port_is_taken() { (exec 3<>"/dev/tcp/127.0.0.1/$1") 2>/dev/null; }

# free_port FIRST: prints FIRST, or the next port that nobody listens on.
free_port() {
    local port=$1
    while port_is_taken "$port"; do port=$((port + 1)); done
    echo "$port"
}

# start_child NAME SIGNAL LOG COMMAND...: starts the command in the background, as the leader of a
# process group, and sets CHILD to its process id. SIGNAL is the signal that ends it. LOG is the
# file of its output, or "-" for the terminal.
start_child() {
    local name=$1 signal=$2 log=$3
    shift 3
    if [ "$log" = - ]; then
        setsid "$@" </dev/null 9>&- &
    else
        setsid "$@" </dev/null >>"$log" 2>&1 9>&- &
    fi
    CHILD=$!
    CHILDREN+=("$CHILD $signal $name")
}

# stop_children: stops all children, the newest first. Each is sent its signal, and SIGKILL if it
# still runs after 20 s.
stop_children() {
    local index pid signal name waited
    for ((index = ${#CHILDREN[@]} - 1; index >= 0; index--)); do
        read -r pid signal name <<<"${CHILDREN[index]}"
        kill -0 "$pid" 2>/dev/null || continue
        say "stopping $name"
        kill -s "$signal" -- "-$pid" 2>/dev/null || true
        for ((waited = 0; waited < 200; waited++)); do
            kill -0 "$pid" 2>/dev/null || break
            sleep 0.1
        done
        if kill -s KILL -- "-$pid" 2>/dev/null; then warn "$name did not stop within 20 s: killed"; fi
        wait "$pid" 2>/dev/null || true
    done
    CHILDREN=()
}

# wait_for NAME PID LOG PORT: waits until the port accepts connections. It prints the end of the log
# and fails when the process ends before that, or after 60 s.
wait_for() {
    local name=$1 pid=$2 log=$3 port=$4 tries
    for ((tries = 0; tries < 600; tries++)); do
        kill -0 "$pid" 2>/dev/null || break
        port_is_taken "$port" && return
        sleep 0.1
    done
    tail -n 20 "$log" >&2
    die "$name does not start: its last words are above, all of them in $log"
}

kafka_properties() {
    cat <<PROPERTIES
process.roles=broker,controller
node.id=1
controller.quorum.voters=1@localhost:$2
listeners=PLAINTEXT://localhost:$1,CONTROLLER://localhost:$2
advertised.listeners=PLAINTEXT://localhost:$1
controller.listener.names=CONTROLLER
listener.security.protocol.map=CONTROLLER:PLAINTEXT,PLAINTEXT:PLAINTEXT
log.dirs=$DEV/kafka/data
auto.create.topics.enable=false
offsets.topic.replication.factor=1
offsets.topic.num.partitions=8
transaction.state.log.replication.factor=1
transaction.state.log.min.isr=1
transaction.state.log.num.partitions=8
group.initial.rebalance.delay.ms=0
log.cleaner.dedupe.buffer.size=8388608
PROPERTIES
}

# start_kafka: starts Kafka and sets BOOTSTRAP_SERVERS.
start_kafka() {
    local port controller id
    mkdir -p "$DEV/kafka"
    port=$(free_port 19092)
    controller=$(free_port $((port + 1)))
    kafka_properties "$port" "$controller" >"$DEV/kafka/server.properties"
    if [ -f "$DEV/kafka/formatted" ] && [ "$(cat "$DEV/kafka/formatted")" != "$KAFKA_VERSION" ]; then
        die "the data of 'make run' is that of another Kafka than $KAFKA_VERSION: run 'make clean', then 'make run' again"
    fi
    if [ ! -f "$DEV/kafka/formatted" ]; then
        rm -rf "$DEV/kafka/data"
        id=$(head -c 16 /dev/urandom | base64 | tr '+/' 'ab' | tr -d '=')
        java_tool 256m kafka.tools.StorageTool format -t "$id" -c "$DEV/kafka/server.properties" >"$DEV/kafka/log" 2>&1 ||
            die "Kafka's data folder cannot be made: see $DEV/kafka/log"
        echo "$KAFKA_VERSION" >"$DEV/kafka/formatted"
    fi
    start_child "Kafka" TERM "$DEV/kafka/log" setpriv --pdeathsig KILL \
        java -Xmx512m -Dlog4j2.configurationFile="$KAFKA_LOG4J" -cp "$KAFKA_LIBS/*" kafka.Kafka "$DEV/kafka/server.properties"
    wait_for "Kafka" "$CHILD" "$DEV/kafka/log" "$port"
    BOOTSTRAP_SERVERS=localhost:$port
}

# PostgreSQL refuses to run as root: root runs it as the user postgres, who must be able to reach
# its data.
AS_POSTGRES=(setpriv --pdeathsig QUIT)
[ "$(id -u)" -ne 0 ] || AS_POSTGRES+=(--reuid postgres --regid postgres --init-groups)

postgres_folder() {
    local folder=$DEV/postgres
    if [ "$(id -u)" -eq 0 ] && ! "${AS_POSTGRES[@]}" test -x "$DEV"; then
        folder=/var/lib/postgresql/helixstream-$(printf %s "$ROOT" | cksum | cut -d' ' -f1)
        mkdir -p "$folder"
        [ -e "$DEV/postgres" ] || ln -s "$folder" "$DEV/postgres"
    fi
    mkdir -p "$folder"
    [ "$(id -u)" -ne 0 ] || chown postgres: "$folder"
    echo "$folder"
}

# start_postgres: starts PostgreSQL and sets POSTGRES_URL.
start_postgres() {
    local port folder bin log
    folder=$(postgres_folder)
    log=$folder/log
    bin=$(compgen -G '/usr/lib/postgresql/*/bin' | sort -V | tail -n 1)
    cd "$folder" || die "$folder cannot be entered"
    if [ ! -d data ]; then
        rm -rf data.new
        "${AS_POSTGRES[@]}" "$bin/initdb" -D "$folder/data.new" -U postgres -A trust -E UTF8 --locale=C.UTF-8 >/dev/null ||
            die "PostgreSQL's data folder cannot be made: its message is above"
        mv data.new data
    fi
    port=$(free_port 15432)
    start_child "PostgreSQL" INT "$log" "${AS_POSTGRES[@]}" \
        "$bin/postgres" -D "$folder/data" -p "$port" -k "$folder" -c listen_addresses=127.0.0.1
    cd "$ROOT" || die "$ROOT is gone"
    wait_for "PostgreSQL" "$CHILD" "$log" "$port"
    POSTGRES_URL="postgres://postgres@127.0.0.1:$port/helixstream?sslmode=disable"
    local server=${POSTGRES_URL/\/helixstream\?/\/postgres?} tries
    for ((tries = 0; tries < 100; tries++)); do
        psql -qAtX -d "$server" -c "select 1" >/dev/null 2>&1 && break
        sleep 0.1
    done
    [ -n "$(psql -qAtX -d "$server" -c "select 1 from pg_database where datname = 'helixstream'")" ] ||
        psql -qX -d "$server" -c "create database helixstream"
}
