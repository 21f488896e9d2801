# The console in a container, its data in a volume:
#   docker build -t trialdeck .
#   docker run --init -p 127.0.0.1:8000:8000 -v trialdeck:/data trialdeck
# Any other command of `trialdeck` follows the image's name: … trialdeck worker --queue gpu

FROM python:3.13-slim AS build
RUN pip install --no-cache-dir --disable-pip-version-check "uv>=0.13,<0.14"
WORKDIR /src
COPY . .
# The versions and hashes of requirements.lock.
RUN uv build -q --wheel --out-dir /tmp/dist \
 && uv venv -q /opt/trialdeck \
 && uv pip install -q --compile-bytecode --python /opt/trialdeck/bin/python --require-hashes -r requirements.lock \
 && uv pip install -q --compile-bytecode --python /opt/trialdeck/bin/python --no-deps /tmp/dist/*.whl

FROM python:3.13-slim
# git fetches the code of trials that run from a repository.
RUN apt-get update \
 && apt-get install -y --no-install-recommends git \
 && rm -rf /var/lib/apt/lists/* \
 && useradd --create-home --uid 10001 trialdeck \
 && install -d -o trialdeck -g trialdeck -m 700 /data
COPY --from=build /opt/trialdeck /opt/trialdeck
ENV PATH="/opt/trialdeck/bin:$PATH" TRIALDECK_DATA=/data
USER trialdeck
WORKDIR /home/trialdeck
VOLUME /data
EXPOSE 8000
HEALTHCHECK --interval=30s --timeout=5s --start-period=60s \
  CMD ["python", "-c", "import urllib.request; urllib.request.urlopen('http://127.0.0.1:8000/healthz', timeout=4)"]
ENTRYPOINT ["trialdeck"]
CMD ["up", "--host", "0.0.0.0", "--port", "8000"]
