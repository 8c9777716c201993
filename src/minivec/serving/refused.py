"""An answer that is an error."""

from collections.abc import Mapping

import orjson
from starlette.responses import Response


class Refused(Exception):
    """A request that is answered with an error: its HTTP ``status``, a ``code`` for programs, a sentence for people."""

    def __init__(self, status: int, code: str, message: str, headers: Mapping[str, str] | None = None):
        super().__init__(message)
        self.status, self.code, self.message, self.headers = status, code, message, headers

    def response(self) -> Response:
        """The answer, in the form that errors of OpenAI's API have."""
        kind = "invalid_request_error" if self.status < 500 else "server_error"
        error = {"message": self.message, "type": kind, "param": None, "code": self.code}
        return Response(orjson.dumps({"error": error}), self.status, self.headers, "application/json")
