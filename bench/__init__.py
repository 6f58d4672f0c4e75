"""Measurements, as ratios within one run: ours against a plain baseline, or many items against few."""
