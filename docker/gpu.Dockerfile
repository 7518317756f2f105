# SPDX-License-Identifier: Apache-2.0
#
# An image with TensorFlow for NVIDIA GPUs and this package. From the top of the checkout, after 'make wheel' with
# the Python of the base image (3.11 for Debian 12):
#
#   docker build -f docker/gpu.Dockerfile --build-arg TENSORFLOW_VERSION=2.21.0 -t sagemaker-tensorflow:gpu .
#   docker run --gpus all sagemaker-tensorflow:gpu pipemode doctor
#
# CUDA comes with TensorFlow, the driver from the machine: docker run --gpus all. The smoke test needs
# no GPU. With TensorFlow 2.14 comes no TensorRT: the one that it asks for is no longer to be had.
ARG BASE=debian:bookworm-slim
FROM ${BASE}
ARG TENSORFLOW_VERSION=2.21.0
COPY docker/install.sh tests/python/packaging/smoke.py dist/*.whl /tmp/sagemaker_tensorflow/
RUN /tmp/sagemaker_tensorflow/install.sh "tensorflow[and-cuda]==$TENSORFLOW_VERSION" && rm -rf /tmp/sagemaker_tensorflow
ENV PATH=/opt/venv/bin:$PATH
