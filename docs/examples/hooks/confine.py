from oqto_platform import ConfinedPlan, Session, SpawnPlan, hookimpl


@hookimpl
def confine(session: Session, plan: SpawnPlan) -> ConfinedPlan | None:
    jail = ("/usr/bin/firejail", "--quiet", f"--private={plan.cwd}", "--")
    return ConfinedPlan(argv=(*jail, *plan.argv), cwd=plan.cwd, env=plan.env, confined_by="firejail")
