# docker build --target cpu -t rmbench .
# docker build --target cuda -t rmbench:cuda .          (run it with --gpus all)
# docker run --rm -v "$PWD/results:/bench/results" -v rmbench-cache:/home/rmbench/.cache rmbench run --model tiny
FROM python:3.12-slim AS wheel
# The version, for a copy without history: docker build --build-arg VERSION=$(git describe --tags) ...
ARG VERSION=""
RUN apt-get update && apt-get install -y --no-install-recommends git && rm -rf /var/lib/apt/lists/*
COPY . /source
RUN if [ -n "$VERSION" ]; then export SETUPTOOLS_SCM_PRETEND_VERSION="${VERSION#v}"; fi \
    && git config --global --add safe.directory /source \
    && pip install --no-cache-dir build==1.6.1 \
    && python -m build --wheel --outdir /dist /source

FROM python:3.12-slim AS base
RUN useradd --create-home rmbench && mkdir /bench && chown rmbench /bench
ENV PYTHONUNBUFFERED=1 PIP_NO_CACHE_DIR=1 PIP_DISABLE_PIP_VERSION_CHECK=1
COPY constraints.txt /constraints.txt

# PyTorch without CUDA: a tenth of the size.
FROM base AS cpu
RUN pip install --constraint /constraints.txt torch --index-url https://download.pytorch.org/whl/cpu
COPY --from=wheel /dist /dist
RUN pip install --constraint /constraints.txt "$(echo /dist/*.whl)[adapters,report,servers]" && rm -r /constraints.txt
USER rmbench
WORKDIR /bench
ENTRYPOINT ["rmbench"]

# The wheels of PyTorch bring CUDA's libraries; the host needs its driver alone.
FROM base AS cuda
COPY --from=wheel /dist /dist
RUN pip install --constraint /constraints.txt "$(echo /dist/*.whl)[adapters,report,servers]" && rm -r /constraints.txt
USER rmbench
WORKDIR /bench
ENTRYPOINT ["rmbench"]
