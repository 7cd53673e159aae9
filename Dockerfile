# The gateway in a container: docker build -t replicate-gateway .
#
#   docker run -p 8080:8080 -v gateway-data:/data -e REPLICATE_API_TOKEN=r8_… replicate-gateway
#
# It writes to /data only, so it runs with --read-only --tmpfs /tmp and without any capability.

# What it stands on: Debian with Python 3.11 or newer as python3, to the byte. Another one of one's own:
# docker build --build-arg BASE=registry.example.com/debian-python:12.11 …
ARG BASE=docker.io/library/python:3.11.13-slim-bookworm@sha256:86adf8dbadc3d6e82ee5dd2c74bec2e1c2467cdad47886280501df722372d2e1

FROM ${BASE} AS build

ENV PIP_DISABLE_PIP_VERSION_CHECK=1 PIP_NO_CACHE_DIR=1
WORKDIR /build

# The dependencies first: they change less often than the code, and their layer is kept.
COPY requirements.lock ./
RUN python3 -m venv /opt/gateway \
    && /opt/gateway/bin/pip install --require-hashes -r requirements.lock

COPY pyproject.toml README.md ./
COPY gateway ./gateway
RUN /opt/gateway/bin/pip install --no-deps --no-build-isolation . \
    && /opt/gateway/bin/pip uninstall --yes hatchling editables trove-classifiers setuptools pip


FROM ${BASE}

# A number, so that Kubernetes' runAsNonRoot can see that it is not root.
RUN groupadd --gid 10001 gateway \
    && useradd --uid 10001 --gid gateway --no-create-home --home-dir /data gateway \
    && install --directory --owner gateway --group gateway --mode 0700 /data

COPY --from=build /opt/gateway /opt/gateway

# Listening beyond the container is what publishing a port means; data goes into the volume.
ENV PATH=/opt/gateway/bin:$PATH \
    PYTHONDONTWRITEBYTECODE=1 \
    PYTHONUNBUFFERED=1 \
    GATEWAY_SERVER__HOST=0.0.0.0 \
    GATEWAY_STORAGE__DATA_DIR=/data \
    GATEWAY_SERVER__LOG_FORMAT=json

USER 10001:10001
WORKDIR /data
VOLUME /data
EXPOSE 8080

# The gateway that runs with this configuration, whether the file or the environment says it.
HEALTHCHECK --interval=15s --timeout=5s --start-period=20s --retries=3 \
    CMD ["python", "-m", "gateway.cli.probe"]

# Running creates take up to a minute: give `docker stop` more than that (-t 80).
STOPSIGNAL SIGTERM
ENTRYPOINT ["replicate-gateway"]
CMD ["serve"]
