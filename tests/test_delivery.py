"""How pictures leave: real and fake alike in all but their pixels, by every way that there is."""

import pytest
import requests
from flask import Flask
from pictures import colourful
from visitors import agree

from protocol.encoding import Encoder, encode_png
from protocol.place import Place
from study_app import create_app
from study_app.config import ConfigError, Serving
from study_app.delivery import PRESIGNED_S, Delivery
from study_app.store import StoreError, get_served, put_image

REAL, FAKE = encode_png(colourful(1)), encode_png(colourful(2))


@pytest.fixture(params=["folder", "memory"])
def store(request, tmp_path):
    return Place(tmp_path / "store" if request.param == "folder" else f"memory://{tmp_path.name}/delivery")


def put_pair(store):
    return put_image(store, REAL), put_image(store, FAKE)


def ask(delivery, sha256, partner, method="GET", **headers):
    """What a browser gets: status, headers, bytes."""
    app = Flask("pictures")
    app.add_url_rule("/p", view_func=lambda: delivery.respond(sha256, partner))
    reply = app.test_client().open("/p", method=method, headers={k.replace("_", "-"): v for k, v in headers.items()})
    return reply.status_code, dict(reply.headers), reply.data


@pytest.mark.parametrize("asked", [{}, {"Range": "bytes=10-19"}, {"Range": "bytes=99999999-"}, {"method": "HEAD"}])
def test_real_and_fake_are_sent_with_equal_headers(store, asked):
    real, fake = put_pair(store)
    delivery = Delivery(store, Serving())
    first, second = ask(delivery, real, fake, **asked), ask(delivery, fake, real, **asked)
    assert first[:2] == second[:2]
    assert len(first[2]) == len(second[2])
    assert not {"ETag", "Last-Modified", "Content-Disposition"} & set(first[1])


def test_picture_is_sent_whole_or_in_the_part_that_is_asked_for(store):
    real, fake = put_pair(store)
    delivery = Delivery(store, Serving())
    status, headers, data = ask(delivery, real, fake)
    assert (status, data, headers["Content-Length"]) == (200, REAL, str(len(REAL)))
    assert headers["Content-Type"] == "image/png"
    assert headers["Cache-Control"] == "private, max-age=86400, immutable"
    assert headers["Accept-Ranges"] == "bytes"
    status, headers, data = ask(delivery, real, fake, Range="bytes=10-19")
    assert (status, data, headers["Content-Range"]) == (206, REAL[10:20], f"bytes 10-19/{len(REAL)}")
    assert ask(delivery, real, fake, Range="bytes=-5")[2] == REAL[-5:]
    assert ask(delivery, real, fake, Range=f"bytes={len(REAL)}-")[0] == 416
    status, headers, data = ask(delivery, real, fake, method="HEAD")
    assert (status, data, headers["Content-Length"]) == (200, b"", str(len(REAL)))
    # There is nothing to compare with, so nothing is "not modified".
    assert ask(delivery, real, fake, If_None_Match="*", If_Modified_Since="Wed, 21 Oct 2099 07:28:00 GMT")[0] == 200


def test_file_is_handed_to_the_server_unread(tmp_path):
    """gunicorn gives to the kernel (sendfile) what it finds in its own wrapper."""
    real, fake = put_pair(store := Place(tmp_path))
    app = Flask("pictures")
    app.add_url_rule("/p", view_func=lambda: Delivery(store, Serving()).respond(real, fake))

    class Wrapper:
        def __init__(self, file, *_size):
            self.file = file

    environ = {"REQUEST_METHOD": "GET", "PATH_INFO": "/p", "SERVER_NAME": "x", "SERVER_PORT": "80"}
    environ |= {"wsgi.url_scheme": "http", "wsgi.file_wrapper": Wrapper}
    body = app.wsgi_app(environ, lambda status, headers: None)
    assert type(body) is Wrapper
    assert body.file.fileno() > 0
    assert body.file.tell() == 0
    body.file.close()


def test_picture_of_an_older_store_is_made_as_it_is_asked_for(store):
    sha256 = put_image(store, Encoder("webp").encode(colourful(1)))
    system, path = store.path_of(f"{sha256[:2]}/{sha256}.png")
    system.rm_file(path)
    other = put_image(store, FAKE)
    status, headers, data = ask(Delivery(store, Serving()), sha256, other)
    assert (status, data) == (200, REAL)
    assert headers == ask(Delivery(store, Serving()), other, sha256)[1]


def test_missing_picture_is_told(store):
    app = Flask("pictures")
    with app.test_request_context(), pytest.raises(StoreError, match="cannot be read"):
        Delivery(store, Serving()).respond("ab" * 32, "cd" * 32)


def test_nginx_is_told_where_the_picture_lies(tmp_path):
    real, fake = put_pair(store := Place(tmp_path))
    delivery = Delivery(store, Serving(accel="/_store"))
    status, headers, data = ask(delivery, real, fake)
    assert (status, data) == (200, b"")
    assert headers["X-Accel-Redirect"] == f"/_store/{real[:2]}/{real}.png"
    assert (tmp_path / headers["X-Accel-Redirect"].removeprefix("/_store/")).read_bytes() == REAL
    other = ask(delivery, fake, real)[1]
    assert {**headers, "X-Accel-Redirect": ""} == {**other, "X-Accel-Redirect": ""}


def test_object_store_sends_the_picture_to_whoever_has_its_address(s3, sqlite_workshop):
    store = Place(f"{s3}/pictures")
    real, fake = put_pair(store)
    delivery = Delivery(store, Serving(presign=True))
    status, headers, _ = ask(delivery, real, fake)
    assert (status, headers["Cache-Control"]) == (302, "private, no-store")
    address = headers["Location"]
    assert address.startswith(f"{delivery.origin}/")
    assert f"Expires={PRESIGNED_S}" in address or "Expires=" in address
    reply = requests.get(address, timeout=30)
    assert (reply.status_code, reply.content, reply.headers["Content-Type"]) == (200, REAL, "image/png")
    assert reply.headers["Cache-Control"] == "private, max-age=86400, immutable"
    assert requests.get(ask(delivery, fake, real)[1]["Location"], timeout=30).content == FAKE
    client = create_app(sqlite_workshop.engine, store, "k" * 32, serving=Serving(presign=True)).test_client()
    policy = client.get("/").headers["Content-Security-Policy"]
    assert f"img-src 'self' {delivery.origin};" in policy


def test_without_presigning_no_other_origin_is_allowed(store):
    assert Delivery(store, Serving()).origin == ""


@pytest.mark.parametrize(
    ("address", "serving", "told"),
    [
        ("memory://x", Serving(accel="/_store"), "REALISM_ACCEL is set, and nginx cannot read the store memory://x"),
        ("memory://x", Serving(presign=True), "REALISM_PRESIGN is set, and the store memory://x is not on S3"),
        ("folder", Serving(presign=True), "REALISM_PRESIGN is set, and the store folder is not on S3"),
    ],
)
def test_store_and_way_that_do_not_fit_are_refused(address, serving, told):
    with pytest.raises(ConfigError, match=told):
        Delivery(Place(address), serving)


def test_a_study_sends_its_pictures_from_disk_in_parts_too(sqlite_workshop):
    sqlite_workshop.create_study()
    client = sqlite_workshop.client()
    agree(client)
    client.post("/study/spots/step/instructions")
    address = client.get("/study/spots/next").json["trial"]["pictures"]["left"]
    whole = client.get(address)
    part = client.get(address, headers={"Range": "bytes=100-"})
    assert (whole.status_code, part.status_code, part.data) == (200, 206, whole.data[100:])
    served = get_served(sqlite_workshop.config.store, [path.stem for path in all_served(sqlite_workshop)])
    assert whole.data in served


def all_served(workshop):
    return list((workshop.config.instance / "store").glob("*/*.png"))
