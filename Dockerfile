# One image for every process of ours: the loop, MLflow's server, Prefect's server.
ARG PYTHON=3.12.11-slim-bookworm

FROM python:${PYTHON} AS build
# For the CPU build of torch, 2 GB smaller, give the address on PyTorch's install page:
# docker compose build --build-arg TORCH_ARGS="--extra-index-url ADDRESS"
ARG TORCH_ARGS=""
ENV PIP_NO_CACHE_DIR=1 PIP_DISABLE_PIP_VERSION_CHECK=1
RUN python -m venv /opt/omniloop
ENV PATH=/opt/omniloop/bin:$PATH
WORKDIR /src
COPY pyproject.toml requirements.lock ./
RUN pip install "$(grep -oE '^torch==[^ ]+' requirements.lock)" --constraint requirements.lock ${TORCH_ARGS}
RUN python -c "import tomllib; p = tomllib.load(open('pyproject.toml', 'rb'))['project']; print(*p['dependencies'], *p['optional-dependencies']['loop'], sep='\n')" > wanted.txt \
    && pip install --requirement wanted.txt --constraint requirements.lock
COPY README.md LICENSE ./
COPY omni_model omni_model
COPY monitoring monitoring
COPY db db
COPY flows flows
COPY dashboards dashboards
RUN PIP_CONSTRAINT=requirements.lock pip install --no-deps . && pip check

FROM python:${PYTHON}
RUN useradd --uid 10001 --create-home --home-dir /data omniloop
COPY --from=build /opt/omniloop /opt/omniloop
ENV PATH=/opt/omniloop/bin:$PATH \
    PYTHONUNBUFFERED=1 \
    OMNI_HOME=/data \
    DO_NOT_TRACK=true \
    EVIDENTLY_DISABLE_TELEMETRY=1 \
    ITERATIVE_DO_NOT_TRACK=true \
    MLFLOW_DISABLE_TELEMETRY=true \
    PREFECT_SERVER_ANALYTICS_ENABLED=false
USER omniloop
WORKDIR /data
VOLUME /data
CMD ["omniloop", "up"]
