"""An S3-compatible server on loopback: moto's, in a thread of the tests.

moto looks whether an object is there and then writes it, in two steps: requests with a precondition
are let through one at a time, as S3 promises. What is asked is counted, and may be made to fail.
"""

import os
import threading
from collections import Counter
from contextlib import contextmanager

import boto3
from moto.server import DomainDispatcherApplication, create_backend_app
from werkzeug.serving import WSGIRequestHandler, make_server

BUCKET = "studies"


class Quiet(WSGIRequestHandler):
    def log(self, *_):
        pass


class Server:
    """Answers S3's requests for as long as `running` lasts."""

    def __init__(self):
        self._app = DomainDispatcherApplication(create_backend_app)
        self._one_at_a_time = threading.Lock()
        self.asked = Counter()
        """How often each method was used."""
        self.puts = []
        """Names of objects put, in their order."""
        self.conditions = []
        """Names of those put with If-None-Match: *."""
        self.ignores_conditions = False
        self.loses_answers = 0
        """Of so many puts with a precondition the answer is lost, after they were done."""
        self.refuses = None
        """A function of method and path: whether the request is refused (403)."""
        self.address = None

    def __call__(self, environ, start):
        method, path = environ["REQUEST_METHOD"], environ["PATH_INFO"]
        self.asked[method] += 1
        if self.refuses and self.refuses(method, path):
            start("403 Forbidden", [("Content-Type", "application/xml")])
            return [b"<Error><Code>AccessDenied</Code><Message>Access Denied</Message></Error>"]
        if method == "PUT":
            self.puts.append(path)
        if environ.get("HTTP_IF_NONE_MATCH") != "*":
            return self._app(environ, start)
        self.conditions.append(path)
        if self.ignores_conditions:
            del environ["HTTP_IF_NONE_MATCH"]
        with self._one_at_a_time:
            answer = list(self._app(environ, start))
        if self.loses_answers:
            self.loses_answers -= 1
            start("500 Internal Server Error", [("Content-Length", "0")])
            return [b""]
        return answer

    @contextmanager
    def running(self):
        server = make_server("127.0.0.1", 0, self, threaded=True, request_handler=Quiet)
        thread = threading.Thread(target=server.serve_forever, daemon=True)
        thread.start()
        self.address = f"http://127.0.0.1:{server.port}"
        try:
            yield self
        finally:
            server.shutdown()
            server.server_close()
            thread.join()


def environment(server):
    """What tells any client of S3 of the server."""
    return {
        "AWS_ENDPOINT_URL": server.address,
        "AWS_ACCESS_KEY_ID": "nobody",
        "AWS_SECRET_ACCESS_KEY": "nothing",
        "AWS_DEFAULT_REGION": "us-east-1",
        "AWS_EC2_METADATA_DISABLED": "true",
    }


def make_bucket(name=BUCKET):
    boto3.client("s3", endpoint_url=os.environ["AWS_ENDPOINT_URL"]).create_bucket(Bucket=name)
