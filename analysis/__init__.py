"""A response table in, fool rates and a report out."""
