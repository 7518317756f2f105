# SPDX-License-Identifier: Apache-2.0
"""What every room stands on: types of arguments, files written whole or not at all, signals."""
