# The operator's image. Built from the root of the repository: docker build --tag finetune-operator .
ARG BASE_IMAGE=docker.io/library/python:3.11-slim-bookworm

# What to install, out of the lock file. The layer below depends on this list alone, not on the whole lock file.
FROM ${BASE_IMAGE} AS requirements
ARG UV_VERSION=0.13.9
WORKDIR /build
COPY pyproject.toml uv.lock ./
RUN --mount=type=secret,id=certificates,target=/etc/ssl/certs/ca-certificates.crt \
    export SSL_CERT_FILE=/etc/ssl/certs/ca-certificates.crt PIP_CERT=/etc/ssl/certs/ca-certificates.crt \
 && python3 -m venv /opt/uv \
 && /opt/uv/bin/pip install --no-cache-dir --disable-pip-version-check --quiet "uv==${UV_VERSION}" \
 && /opt/uv/bin/uv export --frozen --no-annotate --no-dev --no-emit-project --extra operator --quiet --output-file requirements.txt

FROM ${BASE_IMAGE}
RUN groupadd --gid 65532 finetune \
 && useradd --uid 65532 --gid finetune --home-dir /tmp --no-create-home --shell /usr/sbin/nologin finetune
COPY --from=requirements /build/requirements.txt /opt/requirements.txt
# Compiled here, because a read-only root file system cannot keep compiled files later.
RUN --mount=type=bind,from=requirements,source=/opt/uv,target=/opt/uv \
    --mount=type=cache,target=/var/cache/uv \
    --mount=type=secret,id=certificates,target=/etc/ssl/certs/ca-certificates.crt \
    export SSL_CERT_FILE=/etc/ssl/certs/ca-certificates.crt UV_CACHE_DIR=/var/cache/uv \
 && python3 -m venv --without-pip /opt/venv \
 && /opt/uv/bin/uv pip install --python /opt/venv --no-deps --require-hashes --link-mode copy --compile-bytecode \
    --requirement /opt/requirements.txt

ENV PATH=/opt/venv/bin:$PATH \
    PYTHONPATH=/opt/finetune \
    PYTHONDONTWRITEBYTECODE=1 \
    PYTHONUNBUFFERED=1 \
    HOME=/tmp \
    USER=finetune
COPY crds/finetune_api /opt/finetune/finetune_api
COPY operator/finetune_operator /opt/finetune/finetune_operator
RUN python -m compileall -q /opt/finetune

LABEL org.opencontainers.image.title="finetune-operator" \
      org.opencontainers.image.description="A Kubernetes operator that turns a FinetuneJob into a better retrieval model." \
      org.opencontainers.image.licenses="Apache-2.0"
USER 65532:65532
WORKDIR /tmp
ENTRYPOINT ["python", "-m", "finetune_operator"]
