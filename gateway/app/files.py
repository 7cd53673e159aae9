"""The services for uploaded files."""

from collections.abc import Awaitable, Callable

from gateway.clock import Clock
from gateway.domain.urls import UrlMap
from gateway.flows.download_file import DownloadFile
from gateway.flows.list_files import ListFiles
from gateway.flows.read_file import ReadFile
from gateway.flows.upload_file import UploadFile
from gateway.ledger import Ledger
from gateway.upstream import Downloads, Upstream
from gateway.web.files_api import FileFlows


def file_flows(
    ledger: Ledger,
    upstream: Upstream,
    downloads: Downloads,
    urls: UrlMap,
    clock: Clock,
    account: Callable[[], Awaitable[str]],
) -> FileFlows:
    """Return what the API's operations on files are made of."""
    read = ReadFile(ledger, upstream, urls)
    return FileFlows(
        upload=UploadFile(ledger, upstream, urls, clock, account),
        list=ListFiles(ledger, urls, clock),
        read=read,
        download=DownloadFile(ledger, upstream, downloads, urls, read),
    )
