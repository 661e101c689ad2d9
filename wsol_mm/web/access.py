"""Who may talk to a local page: loopback without further ado, other machines with a token."""

import ipaddress
import json
import secrets
import socket
from base64 import b64decode
from collections.abc import Awaitable, Callable, MutableMapping, Sequence
from contextlib import suppress
from hmac import compare_digest
from http.cookies import SimpleCookie
from pathlib import Path
from typing import Any
from urllib.parse import parse_qsl, urlencode, urlsplit

#: What an application of ASGI is made of.
Scope = MutableMapping[str, Any]
Message = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[Message]]
Send = Callable[[Message], Awaitable[None]]
App = Callable[[Scope, Receive, Send], Awaitable[None]]

#: What to install where a page cannot start.
INSTALL = 'pip install "fastapi>=0.110" "uvicorn>=0.29" "python-multipart>=0.0.9"'
_COOKIE = 'wsol_mm_token'
# All that a page needs comes from here; no other site may frame it, or learn of its addresses.
_HEADERS = (
    (
        b'content-security-policy',
        b"default-src 'self'; img-src 'self' blob: data:; frame-ancestors 'none'; base-uri 'none'; "
        b"form-action 'self'",
    ),
    (b'x-content-type-options', b'nosniff'),
    (b'referrer-policy', b'no-referrer'),
)


class AccessGuard:
    """An ASGI application in front of another, which refuses who may not talk to it.

    On loopback, requests must name this machine (``localhost``, ``127.0.0.1``, ``[::1]``) as their host, so
    that no other site can reach the page by a name of its own. With a token, requests carry it: as
    ``Authorization: Bearer`` (or ``Basic``, as the password), in the cookie, or, once, as ``?token=`` in the
    address of the page, which sets the cookie. What changes something must not come from another site, and
    bodies have a largest size.

    Args:
        app: The application behind.
        token: What requests must carry; None on loopback.
        max_body: Largest body in bytes.
        open_paths: Paths that need no token.
    """

    def __init__(self, app: App, token: str | None, max_body: int, open_paths: Sequence[str] = ()) -> None:
        self.app = app
        self.token = token
        self.max_body = max_body
        self.open_paths = tuple(open_paths)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer a request, or pass it on."""
        if scope['type'] != 'http':
            await self.app(scope, receive, send)
            return
        headers = {name.decode('latin-1'): value.decode('latin-1') for name, value in scope['headers']}

        async def send_guarded(message: Message) -> None:
            if message['type'] == 'http.response.start':
                message['headers'] = [*message.get('headers', ()), *_HEADERS]
            await send(message)

        status, reason = self._refusal(scope, headers)
        if self.token is not None and status == 0 and (address := self._address_without_token(scope)):
            cookie = f'{_COOKIE}={self.token}; Path=/; HttpOnly; SameSite=Strict'
            await _answer(send_guarded, 303, '', {'location': address, 'set-cookie': cookie})
            return
        if status:
            await _answer(send_guarded, status, reason)
            return
        if scope['method'] not in ('GET', 'HEAD'):
            body = await self._body(headers, receive)
            if body is None:
                reason = f'body: expected at most {self.max_body} bytes, got more'
                await _answer(send_guarded, 413, reason, {'connection': 'close'})
                return
            receive = _replay(body, receive)
        await self.app(scope, receive, send_guarded)

    def _refusal(self, scope: Scope, headers: dict[str, str]) -> tuple[int, str]:
        """Return why a request is refused, with a status; 0 if it is not."""
        host = headers.get('host', '')
        if self.token is None:
            if not is_loopback(urlsplit(f'//{host}').hostname or ''):
                return 403, f'Host: expected a name of this machine, such as localhost, got {host!r}'
        elif scope['path'] not in self.open_paths and not self._has_token(scope, headers):
            return 401, 'token: expected the one that the server has printed, got none or another'
        if scope['method'] not in ('GET', 'HEAD'):
            origin = headers.get('origin')
            if origin is not None and urlsplit(origin).netloc != host:
                return 403, f'Origin: expected a page of {host}, got {origin}'
        return 0, ''

    def _has_token(self, scope: Scope, headers: dict[str, str]) -> bool:
        given = [value for key, value in parse_qsl(scope['query_string'].decode('latin-1')) if key == 'token']
        scheme, _, bearer = headers.get('authorization', '').partition(' ')
        if scheme.lower() == 'bearer':
            given.append(bearer.strip())
        if scheme.lower() == 'basic':  # of programs that know names and passwords alone; any name will do
            with suppress(ValueError):
                given.append(b64decode(bearer).decode().partition(':')[2])
        cookie: SimpleCookie = SimpleCookie()
        with suppress(Exception):  # whatever other pages of this host have set
            cookie.load(headers.get('cookie', ''))
        if _COOKIE in cookie:
            given.append(cookie[_COOKIE].value)
        wanted = (self.token or '').encode()
        return any(compare_digest(value.encode(), wanted) for value in given)

    @staticmethod
    def _address_without_token(scope: Scope) -> str | None:
        """Return where a page with the token in its address is to be called without it."""
        pairs = parse_qsl(scope['query_string'].decode('latin-1'), keep_blank_values=True)
        if scope['method'] != 'GET' or not any(key == 'token' for key, _ in pairs):
            return None
        rest = urlencode([(key, value) for key, value in pairs if key != 'token'])
        # A path that begins with two slashes would be the address of another host.
        path = '/' + scope['path'].lstrip('/')
        return path + (f'?{rest}' if rest else '')

    async def _body(self, headers: dict[str, str], receive: Receive) -> bytes | None:
        """Read a body; None if it is too large."""
        stated = headers.get('content-length', '')
        if stated.isdecimal() and int(stated) > 8 * self.max_body:
            return None  # not even read to be thrown away
        parts, size, more = [], 0, True
        while more and size <= 8 * self.max_body:
            message = await receive()
            if message['type'] == 'http.disconnect':
                break
            part = message.get('body', b'')
            size += len(part)
            if size <= self.max_body:
                parts.append(part)
            more = message.get('more_body', False)
        return b''.join(parts) if size <= self.max_body else None


def is_loopback(host: str) -> bool:
    """Tell whether a host name or address is that of this machine for itself."""
    if host.lower() == 'localhost':
        return True
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False


def access_token(host: str, file: Path | None = None) -> str | None:
    """Return the token that requests must carry.

    Args:
        host: Address to listen on.
        file: Where the token is kept; made, for its owner alone, if it is missing. None for a new token.

    Returns:
        The token; None on loopback without a file.

    Raises:
        ValueError: If the file holds less than 16 characters.
    """
    if file is None:
        return None if is_loopback(host) else secrets.token_urlsafe(24)
    if not file.exists():
        file.touch(mode=0o600)
        file.write_text(secrets.token_urlsafe(24) + '\n')
    token = file.read_text(encoding='utf-8').strip()
    if len(token) < 16 or not token.isascii() or not token.isprintable() or set(token) & set(' ;,"\\'):
        raise ValueError(f'{file}: expected a token of at least 16 letters and digits, got another content')
    return token


def run_app(app: App, host: str, port: int, token: str | None, title: str) -> None:
    """Serve an application until Ctrl-C.

    Args:
        app: The application, with its guard.
        host: Address to listen on.
        port: Port; 0 for a free one.
        token: Token for the address that is printed.
        title: What is served, for the line that is printed.

    Raises:
        OSError: If there is no such address, or the port is taken.
    """
    import uvicorn

    family = socket.AF_INET6 if ':' in host else socket.AF_INET
    with socket.socket(family) as listener:
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            listener.bind((host, port))
            listener.listen()  # from here on, requests wait for the server
        except OSError as error:
            raise OSError(
                error.errno,
                f'expected an address and a port that are free ({error.strerror})',
                f'{host}:{port}',
            ) from error
        shown = f'[{host}]' if ':' in host else host
        address = f'http://{shown}:{listener.getsockname()[1]}/' + (f'?token={token}' if token else '')
        print(f'{title}: {address}  (Ctrl-C stops)', flush=True)
        server = uvicorn.Server(uvicorn.Config(app, log_level='warning', server_header=False, lifespan='on'))
        with suppress(KeyboardInterrupt):
            server.run(sockets=[listener])


async def _answer(send: Send, status: int, text: str, headers: dict[str, str] | None = None) -> None:
    body = json.dumps({'error': text}).encode()
    fields = {'content-type': 'application/json', 'content-length': str(len(body)), **(headers or {})}
    encoded = [(name.encode(), value.encode('latin-1')) for name, value in fields.items()]
    await send({'type': 'http.response.start', 'status': status, 'headers': encoded})
    await send({'type': 'http.response.body', 'body': body})


def _replay(body: bytes, receive: Receive) -> Receive:
    """Return a ``receive`` that gives a body which has been read already, and then what follows."""
    left = [body]

    async def replay() -> Message:
        if left:
            return {'type': 'http.request', 'body': left.pop(), 'more_body': False}
        return await receive()

    return replay
