"""What the workspace routes take and give."""

from __future__ import annotations

from typing import Annotated

import msgspec

from oqto_platform.wire import Folder


class WorkspaceView(msgspec.Struct, frozen=True, kw_only=True):
    path: str
    name: str
    last_used_at: float


class NewWorkspace(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """A folder to work in; `create` makes it, from `template` where one is named."""

    path: Annotated[str, msgspec.Meta(min_length=1, max_length=4096)]
    create: bool = False
    template: Annotated[str, msgspec.Meta(max_length=200)] = ""


class TemplateView(msgspec.Struct, frozen=True, kw_only=True):
    """Something a new folder can be made from; `plugin` makes it."""

    name: str
    title: str
    description: str
    plugin: str


class OpenedWorkspace(msgspec.Struct, frozen=True, kw_only=True):
    path: str
    name: str
    is_new: bool


class FolderListing(msgspec.Struct, frozen=True, kw_only=True):
    """
    The folders in `path`; `suggested` is where new workspaces of this account go by default.

    `refusal`: why no agent may work in `path` itself, such as a home; empty where one may.
    """

    path: str
    parent: str | None
    folders: list[Folder]
    is_writable: bool
    is_truncated: bool
    suggested: str
    refusal: str = ""
