"""How a picture leaves: the hash of a file of the store in, the reply to whoever may have that picture out.

Nothing in the reply follows the file but its bytes: real and fake are alike in headers and length, and there are no
validators (ETag, Last-Modified), which would tell them apart.
"""

from typing import BinaryIO
from urllib.parse import urlsplit

from flask import request
from werkzeug.utils import redirect
from werkzeug.wrappers import Response
from werkzeug.wsgi import wrap_file

from protocol.place import Place, is_remote
from study_app.config import ConfigError, Serving
from study_app.store import MissingPictureError, RecentPictures, get_served, open_served, presigned, served_name

# A picture of a session never changes; a shared cache must not keep it for others.
CACHING = "private, max-age=86400, immutable"
PRESIGNED_S = 300  # the browser follows at once; whoever keeps the address has no use of it later


class Delivery:
    """The way that pictures of one store take: from disk, through nginx, from memory, or from the object store itself."""

    def __init__(self, store: Place, serving: Serving) -> None:
        """Raises ConfigError if the store and the way do not fit."""
        self._store, self._accel, self._presign = store, serving.accel, serving.presign
        far = is_remote(store.address)
        if self._accel and far:
            raise ConfigError(
                f"REALISM_ACCEL is set, and nginx cannot read the store {store}; unset it, or use a folder"
            )
        if self._presign and not store.address.startswith(("s3://", "s3a://")):
            raise ConfigError(f"REALISM_PRESIGN is set, and the store {store} is not on S3; unset it, or use s3://…")
        self._recent = RecentPictures(store) if far and not self._presign else None

    def respond(self, sha256: str, partner: str) -> Response:
        """The reply with the picture of this hash; ``partner`` is the one shown beside it, which comes along from afar.

        Raises:
            StoreError: if the picture cannot be had.
        """
        if self._presign:
            reply = redirect(presigned(self._store, sha256, PRESIGNED_S), code=302, Response=Response)
            reply.headers["Cache-Control"] = "private, no-store"
            return reply
        if self._accel:
            reply = Response(mimetype="image/png")
            reply.headers["X-Accel-Redirect"] = f"{self._accel}/{served_name(sha256)}"
            reply.headers["Cache-Control"] = CACHING
            return reply
        if self._recent is not None:
            return _in_range(Response(self._recent.get(sha256, partner), mimetype="image/png"))
        try:
            file, size = open_served(self._store, sha256)
        except MissingPictureError:  # a store of before there was that form, or a lost picture
            return _in_range(Response(get_served(self._store, [sha256])[0], mimetype="image/png"))
        return _from_disk(file, size)

    @property
    def origin(self) -> str:
        """Where pictures come from besides this server, for the policy of its pages (img-src); else ""."""
        if not self._presign:
            return ""
        parts = urlsplit(presigned(self._store, "0" * 64, PRESIGNED_S))
        return f"{parts.scheme}://{parts.netloc}"


def _from_disk(file: BinaryIO, size: int) -> Response:
    """The server hands the file to the kernel (sendfile); its bytes never come into Python."""
    reply = Response(wrap_file(request.environ, file), mimetype="image/png", direct_passthrough=True)
    reply.call_on_close(file.close)  # a reply to HEAD, or of a range, does not read it to the end
    reply.content_length = size
    return _in_range(reply)


def _in_range(reply: Response) -> Response:
    """With the headers that every picture has; only a part of it, where the browser asks for one."""
    reply.headers["Cache-Control"] = CACHING
    reply.headers["Accept-Ranges"] = "bytes"
    if "HTTP_RANGE" in request.environ:  # what else may be conditional rests on validators, of which there are none
        length = reply.content_length or reply.calculate_content_length()
        reply.make_conditional(request.environ, accept_ranges=True, complete_length=length)
        reply.headers.pop("Date", None)  # the server sends its own
    return reply
