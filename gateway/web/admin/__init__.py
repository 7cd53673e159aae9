"""`/admin/v1`: what the command line does, over HTTP, for the admin role."""

from gateway.web.admin.api import PREFIX, AdminApi, AdminFlows

__all__ = ["PREFIX", "AdminApi", "AdminFlows"]
