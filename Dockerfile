# The service as one image: the locked virtual environment, app/, workers/ and an init; nothing else.
# How to run it, and with your own tasks: docs/docker.md.

FROM python:3.11-slim-bookworm AS build
RUN apt-get update && apt-get install --yes --no-install-recommends binutils tini
COPY requirements.lock .
# No pip in the environment: the base image's own fills it, with nothing whose hash is not in the lock.
RUN python -m venv --without-pip /opt/venv \
    && pip --python /opt/venv/bin/python install --no-cache-dir --no-compile --only-binary :all: \
       --require-hashes --requirement requirements.lock \
    && find /opt/venv -type d -name tests -prune -exec rm -r {} + \
    && find /opt/venv -name '*.cpython-*.so' -exec strip --strip-unneeded {} + \
    && python -m compileall -q --invalidation-mode unchecked-hash /opt/venv/lib
COPY app /opt/millpond/app
COPY workers /opt/millpond/workers
COPY docker/healthcheck.py LICENSE /opt/millpond/
# The sources are never edited in there, so their bytecode is made now: the root file system may be read-only.
RUN chmod -R a+rX /opt/millpond && python -m compileall -q --invalidation-mode unchecked-hash /opt/millpond

FROM python:3.11-slim-bookworm
# An init as process 1 reaps what tasks leave behind, and passes SIGTERM on.
COPY --from=build /usr/bin/tini /usr/bin/
RUN useradd --uid 10001 --user-group --home-dir /data --shell /usr/sbin/nologin millpond \
    && install --directory --owner millpond --group millpond /data
COPY --from=build /opt/venv /opt/venv
COPY --from=build /opt/millpond /opt/millpond
WORKDIR /opt/millpond
# Tasks of your own are found in /tasks. The drain ends before `docker stop` kills, which it does after 10 seconds.
# It listens on every interface, so it starts only with a file of keys, or with MILLPOND_AUTH=none, which is for whoever
# publishes the port to say.
ENV PATH=/opt/venv/bin:$PATH \
    PYTHONDONTWRITEBYTECODE=1 \
    PYTHONPATH=/tasks \
    PYTHONUNBUFFERED=1 \
    MILLPOND_API_KEYS_FILE=/data/api-keys.json \
    MILLPOND_DATA_DIR=/data \
    MILLPOND_DRAIN_SECONDS=7 \
    MILLPOND_HOST=0.0.0.0
USER 10001:10001
VOLUME /data
EXPOSE 8000
HEALTHCHECK --interval=10s --timeout=3s --start-period=30s CMD ["python", "-IS", "healthcheck.py"]
ENTRYPOINT ["tini", "--", "python", "-m", "app"]
