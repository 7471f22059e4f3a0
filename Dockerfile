# The image of helixstream: built with the toolchain that Cargo.toml names, run on a bare Debian 12.
FROM rust:1.95-bookworm AS build
RUN apt-get update && apt-get install -y --no-install-recommends libclang-dev libssl-dev libcurl4-openssl-dev pkg-config && rm -rf /var/lib/apt/lists/*
WORKDIR /src
COPY . .
# The cache mounts keep RocksDB and librdkafka compiled from one build to the next.
RUN --mount=type=cache,target=/usr/local/cargo/registry --mount=type=cache,target=/target \
    CARGO_TARGET_DIR=/target CARGO_BUILD_BUILD_DIR=/target cargo build --release --locked --bin helixstream && cp /target/release/helixstream /helixstream

FROM debian:bookworm-slim
# curl requests /ready for the health check; librdkafka uses the distribution's OpenSSL and libcurl,
# and its list of certificate authorities.
RUN apt-get update && apt-get install -y --no-install-recommends ca-certificates curl libcurl4 libssl3 libstdc++6 && rm -rf /var/lib/apt/lists/* \
    && useradd --system --home-dir /var/lib/helixstream --no-create-home helixstream \
    && install -d -o helixstream /var/lib/helixstream
COPY --from=build /helixstream /usr/local/bin/helixstream
COPY topologies /etc/helixstream
COPY tests/fixtures/helixagent-events.jsonl /usr/share/helixstream/
USER helixstream
# A volume mounted here gets the owner of this folder.
VOLUME /var/lib/helixstream
EXPOSE 8080
ENTRYPOINT ["helixstream"]
CMD ["run"]
