# The image with the command `fanout`: `make image`. Layers from what changes least to what changes most.

# What it needs, by hash, in an environment of its own. --without-pip: nothing is installed into the image later.
FROM python:3.13-slim AS dependencies
RUN python -m venv --without-pip /opt/fanout
COPY requirements/runtime.txt /build/
RUN --mount=type=cache,target=/cache \
    pip --cache-dir /cache --python /opt/fanout/bin/python install --quiet --require-hashes --only-binary=:all: --no-compile \
        --requirement /build/runtime.txt \
    && python -m compileall -q --invalidation-mode unchecked-hash /opt/fanout/lib

# The application: a wheel, built and installed without a network once its build tools are there.
FROM dependencies AS application
RUN python -m venv --without-pip /opt/build
COPY requirements/demo.txt /build/
RUN --mount=type=cache,target=/cache \
    pip --cache-dir /cache --python /opt/build/bin/python install --quiet --require-hashes --only-binary=:all: --requirement /build/demo.txt
WORKDIR /build
COPY pyproject.toml README.md LICENSE ./
COPY src src
RUN /opt/build/bin/python -m hatchling build --target wheel --directory /build/dist \
    && pip --python /opt/fanout/bin/python install --quiet --no-cache-dir --no-index --no-deps --no-compile \
        --prefix /application /build/dist/*.whl \
    && python -m compileall -q --invalidation-mode unchecked-hash /application/lib

FROM python:3.13-slim
# The published base comes without compiled modules, and a read-only file system would have them compiled at each start.
RUN python -m compileall -q -x '/(site-packages|dist-packages|idlelib|tkinter|turtledemo|ensurepip|test)/' \
        "$(python -c 'import sysconfig; print(sysconfig.get_path("stdlib"))')"
COPY --from=dependencies /opt/fanout /opt/fanout
COPY --from=application /application /opt/fanout
ENV PATH=/opt/fanout/bin:$PATH \
    PYTHONDONTWRITEBYTECODE=1 \
    PYTHONFAULTHANDLER=1 \
    PYTHONUNBUFFERED=1
USER 10001:10001
WORKDIR /tmp
ENTRYPOINT ["fanout"]

ARG VERSION=0.1.0
ARG REVISION=unknown
LABEL org.opencontainers.image.title="temporal-fanout" \
      org.opencontainers.image.description="A Distributed Map for Temporal: the command fanout, its worker and its exporter." \
      org.opencontainers.image.licenses="Apache-2.0" \
      org.opencontainers.image.version="$VERSION" \
      org.opencontainers.image.revision="$REVISION"
