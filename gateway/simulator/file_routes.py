"""Operations on uploaded files."""

import hmac

from gateway.simulator.creation import Refused
from gateway.simulator.file_reading import file_pieces
from gateway.simulator.listing import list_reply
from gateway.simulator.uploads import Upload, UploadRefused, UploadTooLarge
from gateway.simulator.wire import Reply, Request, json_reply, problem
from gateway.simulator.world import World

_DRAIN_BYTES = 256 * 1024 * 1024


def _missing() -> Refused:
    return Refused(problem(404, "File not found", with_status=False))


def _show(world: World, upload: Upload) -> Reply:
    return json_reply(upload.as_json(world.addresses.v1(f"/files/{upload.id}")))


def _find(world: World, request: Request) -> Upload:
    upload = world.uploads.get(request.params["id"], world.now())
    if upload is None:
        raise _missing()
    return upload


async def create(world: World, request: Request) -> Reply:
    """Store a file as it arrives."""
    chunks = request.chunks()
    try:
        upload = await world.uploads.receive(
            chunks,
            request.header("content-type") or "",
            new_id=world.clock.new_id(),
            limit=world.config.max_upload_bytes,
            now=world.now(),
            ttl_s=world.config.upload_ttl_s,
        )
    except UploadTooLarge as error:
        await request.drain(_DRAIN_BYTES)
        detail = "Files must be less than 100MB in size"
        raise Refused(problem(413, detail, with_status=False)) from error
    except UploadRefused as error:
        await request.drain(_DRAIN_BYTES)
        raise Refused(problem(400, str(error), "Bad Request")) from error
    reply = _show(world, upload)
    reply.status = 201
    return reply


async def get(world: World, request: Request) -> Reply:
    """Answer a file's description."""
    return _show(world, _find(world, request))


async def delete(world: World, request: Request) -> Reply:
    """Delete a file."""
    world.uploads.remove(_find(world, request))
    return Reply(204)


async def list_all(world: World, request: Request) -> Reply:
    """Answer a page of files, newest first."""
    return list_reply(
        world,
        request,
        world.uploads.in_order(world.now()),
        lambda upload: upload.number,
        lambda upload: upload.as_json(world.addresses.v1(f"/files/{upload.id}")),
    )


async def download(world: World, request: Request) -> Reply:
    """Answer a file's bytes to whoever has a signature that is still good."""
    upload = _find(world, request)
    owner, expiry = request.query.get("owner", ""), request.query.get("expiry", "")
    if not expiry.isdigit() or int(expiry) < world.now() or owner != world.config.username:
        raise _missing()
    wanted = world.addresses.signature(owner, upload.id, int(expiry))
    if not hmac.compare_digest(wanted.encode(), request.query.get("signature", "").encode()):
        raise _missing()
    return Reply(
        200,
        headers=[("content-type", upload.content_type), ("etag", f'"{upload.md5}"')],
        pieces=file_pieces(upload.path, 0, upload.size),
        length=upload.size,
    )
