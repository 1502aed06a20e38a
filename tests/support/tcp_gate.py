"""A TCP proxy that can be closed: a partition of the network between one client and its servers."""

from __future__ import annotations

import asyncio
import contextlib
import threading
from collections.abc import Coroutine, Sequence
from typing import Any, TypeVar

T = TypeVar("T")
_CHUNK = 65536


class TcpGate:
    """A proxy in front of each of some ports of this computer. :attr:`ports` are its own.

    While it is closed, connections stay and nothing passes, as when packets are lost. What was on its way arrives when it is opened
    again: late, in order, and complete.
    """

    def __init__(self, ports: Sequence[int]) -> None:
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever, name="tcp-gate", daemon=True)
        self._thread.start()
        self._tasks: set[asyncio.Task[None]] = set()
        self.ports: list[int] = self._run(self._listen(ports))

    def _run(self, work: Coroutine[Any, Any, T]) -> T:
        return asyncio.run_coroutine_threadsafe(work, self._loop).result(30)

    async def _listen(self, ports: Sequence[int]) -> list[int]:
        self._to_servers, self._to_client = asyncio.Event(), asyncio.Event()
        self._to_servers.set()
        self._to_client.set()
        self._servers = [await asyncio.start_server(self._accepting(port), "127.0.0.1", 0) for port in ports]
        return [server.sockets[0].getsockname()[1] for server in self._servers]

    def _accepting(self, port: int) -> Any:
        async def accepted(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            task = asyncio.current_task()
            assert task is not None
            self._tasks.add(task)
            try:
                await self._connect(port, reader, writer)
            finally:
                self._tasks.discard(task)

        return accepted

    async def _connect(self, port: int, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with contextlib.suppress(OSError):
            await self._to_servers.wait()
            from_server, to_server = await asyncio.open_connection("127.0.0.1", port)
            await asyncio.gather(
                _pass_on(reader, to_server, self._to_servers), _pass_on(from_server, writer, self._to_client)
            )
        writer.close()

    def close_gate(self, *, answers_only: bool = False) -> None:
        """Let nothing pass any more; ``answers_only``: what the client sends still arrives."""
        self._run(self._set(self._to_client, False))
        if not answers_only:
            self._run(self._set(self._to_servers, False))

    def open_gate(self) -> None:
        """Let everything pass again, also what was held back."""
        self._run(self._set(self._to_servers, True))
        self._run(self._set(self._to_client, True))

    async def _set(self, gate: asyncio.Event, opens: bool) -> None:
        gate.set() if opens else gate.clear()

    def close(self) -> None:
        """End the proxy and its connections."""
        self._run(self._end())
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join()
        self._loop.close()

    async def _end(self) -> None:
        for server in self._servers:
            server.close()
        for task in list(self._tasks):
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)


async def _pass_on(reader: asyncio.StreamReader, writer: asyncio.StreamWriter, gate: asyncio.Event) -> None:
    """Pass bytes on until one side closes; then the other side is closed too."""
    try:
        while data := await reader.read(_CHUNK):
            await gate.wait()
            writer.write(data)
            await writer.drain()
        await gate.wait()
    except ConnectionError:
        pass
    finally:
        writer.close()
