"""Rules about panels: the module is there, and it defines the element that the panel names."""

from __future__ import annotations

from oqto_platform.errors import OqtoError
from oqto_platform.hooks import Hooks
from oqto_platform.testing.inspection import Report


def check(report: Report, hooks: Hooks) -> None:
    """Collect the panels as the house does, then read their modules."""
    if not hooks.implements("register_panels"):
        return
    from oqto_platform.panels.catalogue import Catalogue
    from oqto_platform.testing.inspection.samples import IDENTITY

    try:
        catalogue = Catalogue.of(hooks)
    except OqtoError as exc:
        report.say("panels", exc.detail)
        return
    admin = type(IDENTITY)(account_id=IDENTITY.account_id, name=IDENTITY.name, role="admin")
    for shown in catalogue.for_(admin):
        module = catalogue.folders()[shown.plugin] / shown.panel.module
        if shown.panel.element not in module.read_text(encoding="utf-8"):
            report.say(
                "panels",
                f"{shown.panel.module} does not define <{shown.panel.element}>: "
                f"customElements.define({shown.panel.element!r}, …)",
            )
