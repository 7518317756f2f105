#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Measures how fast a small and a larger model train with oneDNN on and off.

Prints the table of ``docs/mkldnn.md``. Each figure is the median of several processes, on and off
in turns, of the steps per second of ``--seconds`` seconds, after as many for warming up.
"""

from __future__ import annotations

import argparse
import json
import os
import statistics
import subprocess
import sys
import time
from typing import Any

SWITCH = {"on": "enable", "off": "disable"}
BATCH = 64


def main() -> int:
    """Measures, and prints the table."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--rounds", type=int, default=5, help="processes each (default 5)")
    parser.add_argument("--seconds", type=float, default=10, help="time measured (default 10)")
    parser.add_argument("--child", nargs=2, metavar=("MODEL", "ON_OR_OFF"), help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.child:
        print(json.dumps(measure(*arguments.child, arguments.seconds)))
        return 0

    figures: dict[tuple[str, str], list[float]] = {}
    for number in range(arguments.rounds):
        for model in MODELS:
            for switch in SWITCH:
                print(f"round {number + 1}: {model}, oneDNN {switch}", file=sys.stderr)
                command = [sys.executable, __file__, "--child", model, switch]
                command.append(f"--seconds={arguments.seconds}")
                result = subprocess.run(
                    command,
                    check=True,
                    stdout=subprocess.PIPE,
                    env={**os.environ, "TF_CPP_MIN_LOG_LEVEL": "2"},
                )
                figures.setdefault((model, switch), []).append(json.loads(result.stdout))
    print("| model | oneDNN on | oneDNN off | on / off |")
    print("| --- | --- | --- | --- |")
    for model, (description, _) in MODELS.items():
        on, off = figures[model, "on"], figures[model, "off"]
        ratio = statistics.median(on) / statistics.median(off)
        print(f"| {description} | {as_text(on)} | {as_text(off)} | {ratio:.2f} |")
    return 0


def as_text(values: list[float]) -> str:
    """Returns median and range."""
    return f"{statistics.median(values):.1f} ({min(values):.1f} to {max(values):.1f})"


def measure(model: str, switch: str, seconds: float) -> float:
    """Returns steps per second, in a process that has not imported TensorFlow so far."""
    from sagemaker_tensorflow import mkldnn

    getattr(mkldnn, SWITCH[switch])()
    import tensorflow as tf

    if mkldnn.status().enabled is not (switch == "on"):
        raise SystemExit(f"error: oneDNN cannot be turned {switch}: {mkldnn.status()}")
    net = MODELS[model][1](tf)
    shape = net.input_shape[1:]
    images = tf.random.stateless_uniform([BATCH, *shape], seed=[0, 0])
    labels = tf.random.stateless_uniform([BATCH], seed=[0, 1], maxval=10, dtype=tf.int32)
    loss = tf.keras.losses.SparseCategoricalCrossentropy(from_logits=True)
    optimizer = tf.keras.optimizers.SGD(0.01)

    @tf.function
    def step() -> Any:
        with tf.GradientTape() as tape:
            value = loss(labels, net(images, training=True))
        gradients = tape.gradient(value, net.trainable_variables)
        optimizer.apply_gradients(zip(gradients, net.trainable_variables, strict=True))
        return value

    run(step, seconds)
    return run(step, seconds)


def run(step: Any, seconds: float) -> float:
    """Runs steps for some seconds; returns how many in each."""
    steps = 0
    begun = time.perf_counter()
    while time.perf_counter() - begun < seconds:
        step().numpy()
        steps += 1
    return steps / (time.perf_counter() - begun)


def small(tf: Any) -> Any:
    """The model of examples/train_digits.py, about."""
    layers = tf.keras.layers
    return tf.keras.Sequential(
        [tf.keras.Input([64]), layers.Dense(64, activation="relu"), layers.Dense(10)]
    )


def larger(tf: Any) -> Any:
    """A convolutional network on colour images."""
    layers = tf.keras.layers
    blocks = [tf.keras.Input([64, 64, 3])]
    for filters in (32, 64, 128, 256):
        blocks += [
            layers.Conv2D(filters, 3, padding="same", use_bias=False),
            layers.BatchNormalization(),
            layers.ReLU(),
            layers.MaxPooling2D(),
        ]
    return tf.keras.Sequential([*blocks, layers.GlobalAveragePooling2D(), layers.Dense(10)])


MODELS = {
    "small": ("two dense layers, 64 inputs", small),
    "larger": ("four convolutions, 64 x 64 x 3 images", larger),
}

if __name__ == "__main__":
    sys.exit(main())
