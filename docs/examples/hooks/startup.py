from oqto_platform import Context, hookimpl


class _Here:
    context: Context


@hookimpl
def startup(context: Context) -> None:
    """Kept for the other hooks. A failure here stops the server and names the plugin."""
    _Here.context = context
    (context.data_dir / "readings").mkdir(exist_ok=True)
