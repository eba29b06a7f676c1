"""The shipped CUDA sources on a CPU: see harness.py."""
