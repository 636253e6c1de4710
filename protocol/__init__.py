"""The files that cross borders: study design, pair set, response table."""


class InputError(Exception):
    """Something given from outside is wrong. Its text names the object, what was found and what to do."""
