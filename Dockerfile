# taco-stream in a container; docs/how-to/containers.md says how to build and run it.
#
#   BASE         an image with apt and Python 3.11 or later in its packages
#   TORCH_INDEX  where torch comes from; empty is PyPI, whose Linux build brings CUDA and takes gigabytes
#   EXTRAS       local generates and judges; empty judges only, without torch
ARG BASE=debian:bookworm-slim
FROM ${BASE}

RUN apt-get update \
 && apt-get install --yes --no-install-recommends python3 python3-venv \
 && rm -rf /var/lib/apt/lists/* \
 && python3 -c 'import sys; assert sys.version_info >= (3, 11), sys.version'

# In /opt every user can read it: a tier of the sandbox runs programs as a user of their own.
RUN python3 -m venv /opt/taco-stream
ENV PATH=/opt/taco-stream/bin:$PATH

ARG TORCH_INDEX=https://download.pytorch.org/whl/cpu
ARG EXTRAS=local
COPY pyproject.toml constraints.txt README.md LICENSE /opt/source/
COPY taco_stream /opt/source/taco_stream
RUN if [ -n "$EXTRAS" ]; then \
      pip install --no-cache-dir ${TORCH_INDEX:+--extra-index-url "$TORCH_INDEX"} --constraint /opt/source/constraints.txt torch; \
    fi \
 && pip install --no-cache-dir --constraint /opt/source/constraints.txt "/opt/source${EXTRAS:+[$EXTRAS]}"

# Not root, and any other user that `docker run --user` names: nothing of the image is written to.
RUN useradd --uid 10001 --create-home taco && chmod 777 /home/taco && install --directory --mode 777 /models /work
ENV HOME=/home/taco USER=taco HF_HOME=/models
USER taco
WORKDIR /work
ENTRYPOINT ["taco-stream"]
