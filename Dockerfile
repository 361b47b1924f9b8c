# guided-gen on a CPU.
#
#   docker build -t guided-gen .
#   docker run -i --rm -v guided-gen-models:/models guided-gen solve - < problem.txt
#   docker run --rm -v guided-gen-models:/models -p 127.0.0.1:8000:8000 guided-gen
#
# The model, 1.1 GB, is fetched by the first run and kept in the volume. Programs are judged without namespaces of their own (a
# container is not allowed to make them): the container is the sandbox around the judge's.
FROM python:3.12-slim-bookworm

# hadolint ignore=DL3008
RUN apt-get update \
 && apt-get install -y --no-install-recommends gcc libc6-dev bubblewrap \
 && rm -rf /var/lib/apt/lists/*

WORKDIR /src
COPY constraints.txt ./
# Torch without CUDA, 3 GB less: --build-arg TORCH_PIP_ARGS="--index-url <index of CPU builds>", which PyTorch's page names.
ARG TORCH_PIP_ARGS=""
# hadolint ignore=SC2086
RUN pip install --no-cache-dir -c constraints.txt torch $TORCH_PIP_ARGS

COPY pyproject.toml setup.cfg README.md LICENSE ./
COPY guided_gen guided_gen
COPY engine engine
COPY valuemodel valuemodel
COPY data_builder data_builder
COPY benchmarks benchmarks
RUN pip install --no-cache-dir -c constraints.txt '.[serve]'

RUN useradd --create-home --uid 1000 guided && mkdir /models && chown guided /models
USER 1000
WORKDIR /home/guided
ENV GUIDED_GEN_CACHE=/models HF_HOME=/models/huggingface
VOLUME /models
EXPOSE 8000
ENTRYPOINT ["guided-gen"]
CMD ["serve", "--host", "0.0.0.0"]
