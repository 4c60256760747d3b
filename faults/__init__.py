"""What happens to a run is done to it here on purpose: kills, damaged files, a full disk. ``python -m faults``."""
