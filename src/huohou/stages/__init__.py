"""Stages: where batches come from, and a loss."""
