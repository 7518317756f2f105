# SPDX-License-Identifier: Apache-2.0
"""What a script finds of its training job: folders, channels and their settings, files."""
