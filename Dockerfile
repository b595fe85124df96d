# docker build --target cpu -t deepfusion .      docker run --rm -v "$PWD:/data" deepfusion predict clip.mp4 --html
# docker build --target gpu -t deepfusion:gpu .  docker run --rm --gpus all -v "$PWD:/data" deepfusion:gpu predict clip.mp4
# Written, and not built where it was written: no container engine was available.
FROM python:3.12-slim AS wheel
WORKDIR /source
COPY . .
RUN pip install --no-cache-dir build && python -m build --wheel --outdir /wheels

FROM python:3.12-slim AS base
LABEL org.opencontainers.image.title="Deep Fusion" \
      org.opencontainers.image.description="Audio-video emotion recognition by attention-guided factorized bilinear pooling" \
      org.opencontainers.image.licenses="MIT"
RUN useradd --create-home deepfusion
COPY --from=wheel /wheels /wheels
WORKDIR /data
ENTRYPOINT ["deepfusion"]
CMD ["--help"]

# torch for the GPU, with its CUDA libraries, is what the registry has by default.
FROM base AS gpu
RUN pip install --no-cache-dir "$(echo /wheels/*.whl)[pipeline]"
USER deepfusion

# The last target is the default. TORCH_INDEX names an index of wheels for the CPU alone: without one the image is some GB larger.
FROM base AS cpu
ARG TORCH_INDEX=""
RUN if [ -n "$TORCH_INDEX" ]; then pip install --no-cache-dir --index-url "$TORCH_INDEX" torch torchvision; fi \
    && pip install --no-cache-dir "$(echo /wheels/*.whl)[pipeline,onnxruntime]"
USER deepfusion
