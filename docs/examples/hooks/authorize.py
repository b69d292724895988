from oqto_platform import Identity, Refusal, hookimpl


@hookimpl
def authorize(identity: Identity, action: str, target: str) -> None:
    if action == "session.delete" and not identity.is_admin:
        raise Refusal("Sessions are kept here. Ask an administrator to delete one.")
