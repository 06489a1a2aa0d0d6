# Runs an exported model (sppnet export MODEL --out model) without PyTorch: docker build -t finder . ; then
# docker run --rm -v "$PWD/images:/images:ro" finder /images/new.jpg
FROM python:3.13-slim

RUN pip install --no-cache-dir "numpy>=2,<3" "onnxruntime>=1.22,<2" "pillow>=11,<14" \
    && useradd --create-home --uid 10001 finder

COPY --chown=10001:10001 model /home/finder/model

USER 10001
WORKDIR /home/finder
ENTRYPOINT ["python", "model/run.py"]
