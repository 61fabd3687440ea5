"""Large objects on their way in: where each part goes, and the check when all are there."""

import secrets
from collections.abc import AsyncIterable
from hashlib import md5
from typing import BinaryIO

from tests.hub.errors import bad_request, not_found
from tests.hub.history import Repository
from tests.hub.objects import Stored
from tests.hub.store import Store


class Upload:
    """One object that was promised; whoever knows its unguessable id may send it, as with a signed URL."""

    def __init__(self, repository: Repository, promised: Stored, *, chunk_bytes: int | None) -> None:
        self.repository = repository
        self.promised = promised
        self.chunk_bytes = chunk_bytes
        self.parts: dict[int, tuple[str, BinaryIO]] = {}

    @property
    def num_parts(self) -> int:
        return 0 if self.chunk_bytes is None else -(-self.promised.size // self.chunk_bytes)

    def close(self) -> None:
        for _, file in self.parts.values():
            file.close()


class Uploads:
    """The uploads that were begun; each ends as an object that its repository may commit."""

    def __init__(self, store: Store, *, multipart_bytes: int, chunk_bytes: int) -> None:
        self._store = store
        self._multipart_bytes = multipart_bytes
        self._chunk_bytes = chunk_bytes
        self._open: dict[str, Upload] = {}

    def begin(self, repository: Repository, promised: Stored, *, may_split: bool) -> tuple[str, Upload]:
        split = may_split and promised.size > self._multipart_bytes
        upload = Upload(repository, promised, chunk_bytes=self._chunk_bytes if split else None)
        upload_id = secrets.token_urlsafe(16)
        self._open[upload_id] = upload
        return upload_id, upload

    async def receive(self, upload_id: str, chunks: AsyncIterable[bytes]) -> None:
        """Store an object sent in one piece; sending it again is harmless."""
        upload = self._find(upload_id)
        await self._store.objects.put_stream(chunks, expected=upload.promised)
        self._finish(upload)

    async def receive_part(self, upload_id: str, number: int, chunks: AsyncIterable[bytes]) -> str:
        """Keep one part, numbered from 1, and return its etag; sending it again replaces it."""
        upload = self._find(upload_id)
        if not 1 <= number <= upload.num_parts:
            raise not_found()
        file = self._store.objects.incoming()
        try:
            etag = await _write(file, chunks)
        except BaseException:
            file.close()
            raise
        if number in upload.parts:
            upload.parts[number][1].close()
        upload.parts[number] = (etag, file)
        return etag

    def complete(self, upload_id: str, etags: dict[int, str]) -> None:
        """Join the parts; 400 unless exactly the parts that were kept are named."""
        upload = self._find(upload_id)
        if upload.promised.sha256 in upload.repository.large_objects and not upload.parts:
            return
        if etags != {number: etag for number, (etag, _) in upload.parts.items()} or len(etags) != upload.num_parts:
            raise bad_request("One or more of the specified parts could not be found")
        self._store.objects.put_parts([upload.parts[number][1] for number in sorted(etags)], expected=upload.promised)
        upload.close()
        upload.parts.clear()
        self._finish(upload)

    def close(self) -> None:
        for upload in self._open.values():
            upload.close()

    def _find(self, upload_id: str) -> Upload:
        upload = self._open.get(upload_id)
        if upload is None or self._store.find(upload.repository.kind, upload.repository.id) is not upload.repository:
            raise not_found()
        return upload

    def _finish(self, upload: Upload) -> None:
        upload.repository.large_objects.add(upload.promised.sha256)
        self._store.save(upload.repository)


async def _write(file: BinaryIO, chunks: AsyncIterable[bytes]) -> str:
    digest = md5(usedforsecurity=False)
    async for chunk in chunks:
        file.write(chunk)
        digest.update(chunk)
    return f'"{digest.hexdigest()}"'
