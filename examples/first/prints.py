"""Take parameters as arguments and print the result."""

import argparse
import math

parser = argparse.ArgumentParser()
parser.add_argument("--x", type=float, default=1.0)
parser.add_argument("--y", type=float, default=1.0)
args = parser.parse_args()

for step in range(5):
    loss = math.hypot(args.x - 2, args.y + 1) + 1 / (step + 1)
    print(f"step {step}: loss={loss:.6f}", flush=True)
