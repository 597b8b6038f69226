"""Base and adapted on a benchmark with truth: `semtta bench` from a clone.

python tools/benchmark.py --data beam --wheel pose2sim-0.10.0-py3-none-any.whl
python tools/benchmark.py --data mocap --motions AMASS/ --table table4 --seeds 3
python tools/benchmark.py --help
"""

from __future__ import annotations

import sys

from semtta.cli import main

if __name__ == "__main__":
    sys.argv.insert(1, "bench")
    main()
