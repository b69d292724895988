import asyncio

from oqto_platform import Session, hookimpl

recorders: dict[str, asyncio.subprocess.Process] = {}


@hookimpl
async def session_stopping(session: Session, reason: str) -> None:
    """The agent still runs: what it uses is closed before it is."""
    if recorder := recorders.pop(session.id, None):
        recorder.terminate()
        await recorder.wait()
