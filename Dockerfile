# Serves an exported model (sppnet export MODEL --out model) over HTTP, without PyTorch: docker build -t finder . ; then
# docker run --rm -p 8080:8080 finder
FROM python:3.13-slim AS build

WORKDIR /build
COPY pyproject.toml README.md LICENSE ./
COPY src src
RUN pip wheel --no-cache-dir --no-deps --wheel-dir wheels .

FROM python:3.13-slim

COPY pyproject.toml /opt/served/
COPY --from=build /build/wheels /opt/served/wheels
RUN pip install --no-cache-dir --group /opt/served/pyproject.toml:served \
    && pip install --no-cache-dir --no-deps /opt/served/wheels/*.whl \
    && useradd --create-home --uid 10001 finder

COPY --chown=10001:10001 model /home/finder/model

USER 10001
WORKDIR /home/finder
EXPOSE 8080
HEALTHCHECK --start-period=60s CMD ["python", "-c", "from urllib.request import urlopen; urlopen('http://127.0.0.1:8080/healthz', timeout=5)"]
ENTRYPOINT ["sppnet", "serve", "model", "--host", "0.0.0.0"]
