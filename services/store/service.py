"""The store as a process: the folder opened, the rules on it, the server before them, and all of it ended in order."""

from __future__ import annotations

from pathlib import Path

from services.common.errors import StoreError
from services.common.live import Live
from services.common.options import StoreOptions
from services.common.process import Process, StartError
from services.store.diskspace import disk_gauges
from services.store.embedded import EmbeddedStore, MetadataMissing
from services.store.lock import StoreInUse
from services.store.mailstore import MailStore
from services.store.maintenance import EmbeddedMaintenance
from services.store.schema import SchemaTooNew
from services.store.server import ListenError, StoreServer, listeners_of


async def serve(process: Process) -> None:
    """Run the store until the process is told to stop. Raises StartError."""
    configuration = process.configuration.value
    path = str(Path(configuration.data, configuration.store.path))
    embedded = await _open(path, configuration.store)
    try:
        await StoreService(process, path, embedded).serve()
    finally:
        await embedded.close()


async def _open(path: str, options: StoreOptions) -> EmbeddedStore:
    try:
        return await EmbeddedStore.open(path, options)
    except (StoreInUse, SchemaTooNew, MetadataMissing) as error:
        raise StartError(str(error)) from None
    except StoreError as error:
        detail = ", ".join(error.metadata.values())
        raise StartError(f"the store in {path} cannot be opened: {error.reason.value} ({detail})") from None
    except OSError as error:
        raise StartError(f"the store in {path} cannot be opened: {error.strerror}") from None


class StoreService:
    """What stands on an open folder."""

    def __init__(self, process: Process, path: str, embedded: EmbeddedStore) -> None:
        self._process = process
        self._path = path
        self._embedded = embedded
        self._options: Live[StoreOptions] = process.configuration.part(lambda value: value.store)
        self._rules = MailStore(embedded.database, embedded.bodies, self._options.value)
        self._server = StoreServer(
            self._rules,
            EmbeddedMaintenance(path, embedded.compactor),
            listeners_of(self._options.value, process.configuration.value.data),
            lambda: self._options.value.maxmessagesize,
            process.observer,
            process.tracer,
        )
        self._options.subscribe(self._rules.reload)
        self._options.subscribe(embedded.apply)

    async def serve(self) -> None:
        """Start, wait, drain. Raises StartError."""
        process, processes = self._process, self._server.desk.processes
        process.health.checks["storage"] = self._readable
        process.observer.watch("store_processes", "Processes with a stream to the store.", lambda: len(processes))
        for gauge in disk_gauges(self._path):
            process.observer.watch(*gauge)
        self._rules.start()
        self._embedded.start_compaction()
        try:
            await self._server.start()
            process.log.info("listening", socket=self._server.socket, port=self._server.port)
            process.started()
            await process.stopping.wait()
        except ListenError as error:
            raise StartError(str(error)) from None
        finally:
            await self._server.stop(process.drain_seconds)
            await self._rules.close()

    async def _readable(self) -> bool:
        """Whether the metadata answers."""
        await self._rules.list_accounts(page_size=1)
        return True
