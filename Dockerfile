# The operator's image: `docker build -t backstay:dev .` — docs/image.md says what is in it and why.
#
# It runs as user 65532 with a read-only root file system; /tmp must be writable (the chart mounts an empty folder there).
# What follows the last FROM stands in image/config.py as well, from which tests make the same image without Docker.
FROM debian:12 AS root
ENV PIP_NO_CACHE_DIR=1
RUN apt-get update && apt-get install --yes --no-install-recommends python3 python3-pip
WORKDIR /source
COPY image ./image
COPY requirements.lock requirements-dev.lock ./
# Apart from Backstay itself, so that a change of its code builds in seconds.
RUN python3 -m image.rootfs /root-of-image --part dependencies
COPY pyproject.toml README.md LICENSE ./
COPY operator ./operator
RUN python3 -m image.rootfs /root-of-image --part backstay

FROM scratch
COPY --from=root /root-of-image /
LABEL org.opencontainers.image.title="backstay" \
      org.opencontainers.image.description="A Kubernetes-native workflow operator: business processes as custom resources, with compensation, people and messages." \
      org.opencontainers.image.version="0.2.0" \
      org.opencontainers.image.licenses="Apache-2.0"
ENV PATH="/usr/local/bin:/usr/bin" \
    LANG="C.UTF-8" \
    PYTHONUNBUFFERED="1" \
    PYTHONDONTWRITEBYTECODE="1" \
    HOME="/tmp"
USER 65532:65532
WORKDIR /tmp
EXPOSE 9090 8080
ENTRYPOINT ["backstay"]
CMD ["operator"]
