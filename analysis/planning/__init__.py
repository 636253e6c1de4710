"""Assumptions in, how many people and pictures a study needs out: simulated, and as a page."""
