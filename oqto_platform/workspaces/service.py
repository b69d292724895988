"""Recent workspaces, and the folder picker. Every look at the disk goes through the runner."""

from __future__ import annotations

from collections.abc import Callable

from sqlmodel import col, select

from oqto_platform.access import Access
from oqto_platform.accounts.service import Accounts
from oqto_platform.config.expand import fill
from oqto_platform.config.live import Live
from oqto_platform.config.sections import Local
from oqto_platform.db import Database
from oqto_platform.db.models import WorkspaceRow
from oqto_platform.errors import Invalid
from oqto_platform.hooks import Hooks
from oqto_platform.runners.client import RunnerClient
from oqto_platform.types import Identity, Workspace, WorkspaceRequest
from oqto_platform.workspaces.recent import move_to_top
from oqto_platform.workspaces.schemas import FolderListing, NewWorkspace, TemplateView, WorkspaceView

RECENT = 30


class Workspaces:
    """Folders that an account works in."""

    def __init__(
        self,
        db: Database,
        access: Access,
        live: Live,
        hooks: Hooks,
        accounts: Accounts,
        runner_of: Callable[[str], RunnerClient],
    ) -> None:
        self._db = db
        self._access = access
        self._live = live
        self._hooks = hooks
        self._accounts = accounts
        self._runner_of = runner_of

    async def recent(self, identity: Identity) -> list[WorkspaceView]:
        """The workspaces the account used, the latest first."""
        await self._access.check(identity, "workspace.list", identity.account_id)
        query = select(WorkspaceRow).where(WorkspaceRow.account_id == identity.account_id)
        query = query.order_by(col(WorkspaceRow.last_used_at).desc()).limit(RECENT)
        rows = await self._db.read(lambda t: t.exec(query).all())
        return [WorkspaceView(path=row.path, name=row.name, last_used_at=row.last_used_at) for row in rows]

    async def browse(self, identity: Identity, path: str, *, show_hidden: bool) -> FolderListing:
        """The folders in `path`, for the picker."""
        await self._access.check(identity, "workspace.browse", path)
        listing = await self._runner_of(identity.account_id).browse(path, show_hidden=show_hidden)
        return FolderListing(
            path=listing.path,
            parent=listing.parent,
            folders=listing.folders,
            is_writable=listing.is_writable,
            is_truncated=listing.is_truncated,
            suggested=self._suggested(identity),
            refusal=listing.refusal,
        )

    async def templates(self, identity: Identity) -> list[TemplateView]:
        """What plugins offer this account; of two with one name, the plugin that is asked first makes it."""
        await self._access.check(identity, "workspace.templates", identity.account_id)
        if not self._hooks.implements("list_templates"):
            return []
        answers = await self._hooks.call.list_templates(await self._accounts.get(identity.account_id))
        return [
            TemplateView(name=one.name, title=one.title, description=one.description, plugin=plugin)
            for plugin, templates in answers.items()
            for one in templates
        ]

    async def open(self, identity: Identity, new: NewWorkspace) -> Workspace:
        """Make or open a folder and remember it. Errors name the path and the repair."""
        await self._access.check(identity, "workspace.open", new.path)
        if new.template:
            await self._check_template(identity, new)
        request = WorkspaceRequest(path=new.path, create=new.create, template=new.template)
        workspace = await self._runner_of(identity.account_id).open_workspace(request)
        await self._db.write(lambda t: move_to_top(t, identity.account_id, workspace.path))
        return workspace

    async def _check_template(self, identity: Identity, new: NewWorkspace) -> None:
        names = [template.name for template in await self.templates(identity)]
        if not new.create:
            raise Invalid("template: makes a new folder, so create has to be true")
        if new.template not in names:
            known = ", ".join(names) or "none, because no plugin offers any"
            raise Invalid(f"template: there is no {new.template!r}; there are: {known}")

    def _suggested(self, identity: Identity) -> str:
        local = self._live.current.section("local", Local)
        template = local.workspace_dir
        if local.single_user:  # one person needs no folder of his own
            return template.replace("/{user_id}", "").replace("{user_id}", "")
        return fill(template, user_id=identity.name)
