# The operator's image: `docker build -t backstay:dev .`
#
# It runs as user 65532 with a read-only root filesystem; /tmp must be writable (the chart mounts an empty folder there).
ARG PYTHON=3.13

# The wheel is built apart, with the pinned tools of requirements-dev.lock: none of them gets into the image.
FROM python:${PYTHON}-slim AS wheel
WORKDIR /source
COPY requirements-dev.lock ./
RUN pip install --no-cache-dir --require-hashes -r requirements-dev.lock
COPY pyproject.toml README.md LICENSE ./
COPY operator ./operator
RUN python -m hatchling build --target wheel --directory /wheel

# What the operator needs is installed by hash, and then the wheel, which may bring nothing else along.
FROM python:${PYTHON}-slim AS install
ENV PIP_DISABLE_PIP_VERSION_CHECK=1
RUN python -m venv --without-pip /opt/backstay
COPY requirements.lock /
RUN pip --python /opt/backstay install --no-cache-dir --require-hashes -r /requirements.lock
COPY --from=wheel /wheel /wheel
RUN pip --python /opt/backstay install --no-cache-dir --no-deps --no-index /wheel/*.whl \
    && pip --python /opt/backstay check

FROM python:${PYTHON}-slim
# Output at once, as nobody reads a buffer; no bytecode at run time, as the filesystem is read-only (pip has compiled all of it above).
ENV PATH=/opt/backstay/bin:$PATH \
    PYTHONUNBUFFERED=1 \
    PYTHONDONTWRITEBYTECODE=1 \
    HOME=/tmp
COPY --from=install /opt/backstay /opt/backstay
USER 65532:65532
WORKDIR /tmp
# Metrics and health, where `--metrics-port` and `--health-port` do not say otherwise.
EXPOSE 9090 8080
ENTRYPOINT ["backstay"]
CMD ["operator"]
