"""Findings in, the figures of a report out: ``draw`` has them all, ``style`` saves them, one module for each family."""
