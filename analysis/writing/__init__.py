"""Findings in, the page, the tables and the sentences of a report out."""
