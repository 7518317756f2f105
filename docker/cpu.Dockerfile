# SPDX-License-Identifier: Apache-2.0
#
# An image with TensorFlow for CPUs and this package. From the top of the checkout, after 'make wheel' with
# the Python of the base image (3.11 for Debian 12):
#
#   docker build -f docker/cpu.Dockerfile --build-arg TENSORFLOW_VERSION=2.21.0 -t sagemaker-tensorflow:cpu .
#   docker run sagemaker-tensorflow:cpu pipemode doctor
ARG BASE=debian:bookworm-slim
FROM ${BASE}
ARG TENSORFLOW_VERSION=2.21.0
COPY docker/install.sh tests/python/packaging/smoke.py dist/*.whl /tmp/sagemaker_tensorflow/
RUN /tmp/sagemaker_tensorflow/install.sh "tensorflow-cpu==$TENSORFLOW_VERSION" && rm -rf /tmp/sagemaker_tensorflow
ENV PATH=/opt/venv/bin:$PATH
