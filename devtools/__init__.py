"""Servers that run from Python packages alone, where no Docker is at hand."""
