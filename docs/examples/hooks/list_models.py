from collections.abc import Sequence

from oqto_platform import Account, ModelInfo, ModelSource, hookimpl


@hookimpl
def list_models(account: Account) -> Sequence[ModelSource]:
    return [
        ModelSource(
            name="cellar",
            title="The machine in the cellar",
            api="openai-completions",
            base_url="http://127.0.0.1:11434/v1",
            key_env="CELLAR_KEY",
            models=(ModelInfo(id="small", name="Small", context_window=32_000),),
        )
    ]
