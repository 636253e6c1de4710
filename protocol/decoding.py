"""A picture file that may not be what it seems in; its picture, or one error of the caller's, out."""

import logging
import struct
import warnings
import zlib
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from PIL import Image, UnidentifiedImageError

from protocol import InputError

# What Pillow's decoders raise on files that are not what they seem.
_ERRORS = (
    OSError, SyntaxError, ValueError, EOFError, TypeError, KeyError, IndexError, OverflowError, struct.error, zlib.error,
    Image.DecompressionBombError,
)  # fmt: skip


@contextmanager
def decoding(fail: Callable[[str], InputError]) -> Iterator[None]:
    """Pillow at work on a file that may not be what it seems: what goes wrong is raised as ``fail(reason)``, once.

    Pillow's warnings and log are left out: they would come besides, and of files that turn out well.
    """
    log = logging.getLogger("PIL")
    level = log.level
    log.setLevel(logging.CRITICAL)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            yield
    except UnidentifiedImageError as error:
        raise fail("not a picture") from error
    except _ERRORS as error:
        reason = error.strerror if isinstance(error, OSError) and error.strerror else str(error)
        raise fail(" ".join(reason.rstrip(".").split()) or type(error).__name__) from error
    finally:
        log.setLevel(level)
