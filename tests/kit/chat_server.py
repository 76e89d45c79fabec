"""A server on 127.0.0.1 that speaks enough of the chat completions API to be asked, and to fail."""

import json
import threading
from contextlib import contextmanager, suppress
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

ANSWERS = {"Text": "a small red circle", "Items": ["one", "two", "three"]}
ANSWERS |= {"YesOrNo": "yes", "Category": "food"}


def completion(content, *, tokens=None, **message):
    """Return the body of an answer whose text is `content`, and which used so many tokens."""
    message = {"role": "assistant", "content": content} | message
    choice = {"index": 0, "finish_reason": message.pop("finish_reason", "stop"), "message": message}
    return {
        "id": "x",
        "object": "chat.completion",
        "created": 0,
        "model": "m",
        "choices": [choice],
        "usage": tokens and {"total_tokens": tokens},
    }


def said(answer, **more):
    """Return the body of a well-formed structured answer."""
    return completion(json.dumps({"answer": answer}), **more)


class Server:
    """What the server was asked, and what it says next: `script` first, then `ANSWERS`."""

    def __init__(self, address):
        self.url = f"http://127.0.0.1:{address[1]}/v1"
        self.asked, self.headers, self.script = [], [], []
        self.lock = threading.Lock()

    def reply(self, headers, asked):
        with self.lock:
            self.asked.append(asked)
            self.headers.append(headers)
            scripted = self.script.pop(0) if self.script else None
        if scripted:
            status, body = scripted
            return status, body(headers) if callable(body) else body
        form = asked["response_format"]["json_schema"]["name"]
        return 200, said(ANSWERS[form])


@contextmanager
def serving():
    """Serve on a free port until the end of the block."""

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self):
            asked = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
            status, body = server.reply(self.headers, asked)
            data = body.encode() if isinstance(body, str) else json.dumps(body).encode()
            self.send_response(status)
            self.send_header("Content-Type", "application/json")
            self.send_header("Content-Length", str(len(data)))
            self.send_header("retry-after", "0.001")
            with suppress(ConnectionError):  # of a client that waits no longer
                self.end_headers()
                self.wfile.write(data)

        def log_message(self, *args):
            pass

    http = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    server = Server(http.server_address)
    thread = threading.Thread(target=http.serve_forever, kwargs={"poll_interval": 0.01})
    thread.start()
    try:
        yield server
    finally:
        http.shutdown()
        thread.join()
        http.server_close()
