# Two stages: what builds stays behind. integration/test_image.py carries out the RUN and COPY steps without Docker.
FROM python:3.13-slim AS build

WORKDIR /src
COPY pyproject.toml setup.cfg README.md LICENSE ./
COPY hospproxy hospproxy
COPY hospproxy_plugins hospproxy_plugins
COPY hosp_standin hosp_standin
COPY twisted twisted
# No pip in the environment that is handed on: nothing is installed at run time.
RUN python -m venv --without-pip /opt/hospproxy \
    && python -m pip --python /opt/hospproxy/bin/python install --no-cache-dir --disable-pip-version-check .
# The stand-in is for development: it has no place beside patients' records. After it has gone twistd's list of plugins
# is made once, here: at run time nothing can be written.
COPY scripts/seal_image.py /src/scripts/
RUN /opt/hospproxy/bin/python scripts/seal_image.py


FROM python:3.13-slim

ARG UID=10001
ARG GID=10001
ENV PATH=/opt/hospproxy/bin:$PATH \
    PYTHONDONTWRITEBYTECODE=1 \
    PYTHONUNBUFFERED=1
COPY --from=build /opt/hospproxy /opt/hospproxy
COPY deploy/image.toml /etc/hospproxy/hospproxy.toml
RUN install -d -o "${UID}" -g "${GID}" -m 0700 /var/lib/hospproxy
WORKDIR /var/lib/hospproxy
USER ${UID}:${GID}
VOLUME /var/lib/hospproxy
EXPOSE 8443
# Asks the proxy, never HOSP: a container is not to be restarted because HOSP is away.
HEALTHCHECK --interval=10s --timeout=5s --start-period=20s --retries=3 \
    CMD ["python", "-c", "import http.client as h, ssl, sys; c = h.HTTPSConnection('127.0.0.1', 9443, timeout=4, context=ssl._create_unverified_context()); c.request('GET', '/live'); sys.exit(c.getresponse().status != 200)"]
STOPSIGNAL SIGTERM
CMD ["twistd", "-n", "--pidfile=", "hospproxy", "--config", "/etc/hospproxy/hospproxy.toml"]
