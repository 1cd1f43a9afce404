# Two stages, so that build tools stay out of the image. integration/test_image.py runs the RUN and COPY steps without
# Docker.
FROM python:3.13-slim AS build

WORKDIR /src
COPY pyproject.toml setup.cfg README.md LICENSE requirements-all.lock ./
COPY hospproxy hospproxy
COPY hospproxy_plugins hospproxy_plugins
COPY hosp_standin hosp_standin
COPY simulation simulation
COPY twisted twisted
COPY deploy/man deploy/man
# The final environment has no pip: nothing is installed at run time, so every extra is in it. pip accepts only the
# packages and hashes of the lock file; pip check then fails if a dependency is missing.
RUN python -m venv --without-pip /opt/hospproxy \
    && pip="python -m pip --python /opt/hospproxy/bin/python --disable-pip-version-check" \
    && $pip install --no-cache-dir --require-hashes --requirement requirements-all.lock \
    && $pip install --no-cache-dir --no-deps . \
    && $pip check
# Remove the stand-in HOSP, which is for development only. Then create twistd's plugin cache, because nothing can be
# written at run time.
COPY scripts/seal_image.py /src/scripts/
RUN /opt/hospproxy/bin/python scripts/seal_image.py


FROM python:3.13-slim

ARG UID=10001
ARG GID=10001
# make image sets both.
ARG VERSION=unknown
ARG REVISION=unknown
LABEL org.opencontainers.image.title="hospproxy" \
      org.opencontainers.image.description="A proxy that makes a slow, failing HTTP API reliable, secure and auditable" \
      org.opencontainers.image.licenses="MIT" \
      org.opencontainers.image.version="${VERSION}" \
      org.opencontainers.image.revision="${REVISION}"
ENV PATH=/opt/hospproxy/bin:$PATH \
    PYTHONDONTWRITEBYTECODE=1 \
    PYTHONUNBUFFERED=1
COPY --from=build /opt/hospproxy /opt/hospproxy
COPY deploy/image.toml /etc/hospproxy/hospproxy.toml
RUN install -d -o "${UID}" -g "${GID}" -m 0700 /var/lib/hospproxy
WORKDIR /var/lib/hospproxy
USER ${UID}:${GID}
VOLUME /var/lib/hospproxy
EXPOSE 8443 9443
# Checks the proxy only, never HOSP: an outage of HOSP must not restart the container.
HEALTHCHECK --interval=10s --timeout=5s --start-period=20s --retries=3 \
    CMD ["python", "-c", "import http.client as h, ssl, sys; c = h.HTTPSConnection('127.0.0.1', 9443, timeout=4, context=ssl._create_unverified_context()); c.request('GET', '/live'); sys.exit(c.getresponse().status != 200)"]
STOPSIGNAL SIGTERM
CMD ["twistd", "-n", "--pidfile=", "hospproxy", "--config", "/etc/hospproxy/hospproxy.toml"]
