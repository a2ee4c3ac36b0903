# SPDX-License-Identifier: Apache-2.0
"""tests/e2e's worlds, topologies, servers and load, for measurements."""
import os
import sys

from paths import ROOT

sys.path.insert(0, os.path.join(ROOT, "tests", "e2e"))

import common  # noqa: E402
import load  # noqa: E402
import servers  # noqa: E402
import teald  # noqa: E402
import topology  # noqa: E402
import world  # noqa: E402

Failure, World = world.Failure, world.World
__all__ = ["Failure", "World", "common", "load", "servers", "teald", "topology", "world"]
