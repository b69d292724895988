"""The example of every hook, run as a plugin: `test_hook_<name>` for each."""

from __future__ import annotations

import asyncio
import importlib.util
import json
import sys
from types import SimpleNamespace

import msgspec
import pytest
import structlog

from oqto_platform import hookspecs
from oqto_platform.errors import Refusal
from oqto_platform.hooks import Hooks, PerPlugin
from oqto_platform.settings import Settings
from oqto_platform.types import (
    Account,
    Credentials,
    Identity,
    Outcome,
    Session,
    SpawnPlan,
    ToolCall,
    WorkspaceRequest,
)

SESSION = Session(id="ses_1", account_id="acc_1", workspace="/home/ada/project")
ACCOUNT = Account(id="acc_1", name="Ada")
PLAN = SpawnPlan(argv=("/usr/bin/agent",), cwd="/home/ada/project", env={"A": "1"})
NAMES = [name for name, value in vars(hookspecs).items() if hasattr(value, "policy")]


class Example:
    """The plugin of one example. `ask` calls its hook as the house does."""

    def __init__(self, name: str, folder) -> None:
        file = folder / f"{name}.py"
        spec = importlib.util.spec_from_file_location(f"example_of_{name}", file)
        self.module = importlib.util.module_from_spec(spec)
        spec.loader.exec_module(self.module)
        side = getattr(hookspecs, name).policy.sides[0]
        self.name, self.hooks = name, Hooks(side)
        self.hooks.register(self.module, "weather")
        self.hooks.checked()

    def ask(self, **arguments):
        return asyncio.run(self.hooks.run(self.name, **arguments))

    def register(self, **arguments):
        return self.hooks.register_all(self.name, **arguments)["weather"]

    def start(self, context):
        asyncio.run(self.hooks.run("startup", context=PerPlugin(lambda _: context)))


@pytest.fixture
def example(repository, request):
    name = request.node.originalname.removeprefix("test_hook_")
    return Example(name, repository / "docs" / "examples" / "hooks")


@pytest.fixture
def context(tmp_path):
    """A context as plugins get it, as far as the examples use it."""
    told = []

    async def read(work):
        return work(SimpleNamespace(scalar=lambda _query: 7))

    return SimpleNamespace(
        data_dir=tmp_path,
        log=structlog.get_logger(),
        db=SimpleNamespace(read=read),
        settings=lambda: SimpleNamespace(city="Bergen"),
        told=told,
        tell=lambda session_id, event: told.append((session_id, event)),
    )


def test_every_hook_has_an_example_and_a_test_of_its_name(repository):
    files = {path.stem for path in (repository / "docs" / "examples" / "hooks").glob("*.py")}
    assert files == set(NAMES)
    tests = {name.removeprefix("test_hook_") for name in globals() if name.startswith("test_hook_")}
    assert tests == set(NAMES)


def test_hook_register_config(example):
    settings = msgspec.convert({"api_key": "x"}, example.register(), dec_hook=lambda kind, value: kind(value))
    assert (settings.city, repr(settings.api_key)) == ("Bergen", "***")


def test_hook_register_routes(example, context):
    city, alive = example.register(context=context)
    assert (set(city.paths), alive.opt) == ({"/city"}, {"public": True})


def test_hook_register_commands(example):
    import click
    from click.testing import CliRunner

    group = click.Group("weather")
    example.hooks.register_all("register_commands", group=group)
    assert CliRunner().invoke(group, ["look", "Bergen"]).output == "It rains in Bergen.\n"


def test_hook_register_tables(example):
    tables = example.register()
    assert [model.__tablename__ for model in tables.models] == ["weather_reading"]
    assert tables.models[0].metadata.tables.keys() == {"weather_reading"}


def test_hook_register_panels(example):
    side, renderer = example.register()
    assert (side.place, renderer.place, renderer.tools) == ("session", "tool", ("show_map",))


def test_hook_register_jobs(example, context):
    (job,) = example.register(context=context)
    assert asyncio.run(job.run()) is None
    assert (job.name, job.every_s) == ("refresh", 600)


def test_hook_register_harnesses(example, repository, monkeypatch):
    monkeypatch.syspath_prepend(str(repository / "examples" / "oqto-plugin-parrot"))
    (parrot,) = example.register()
    assert parrot.name == "parrot"
    monkeypatch.delitem(sys.modules, "oqto_plugin_parrot", raising=False)


def test_hook_prepare(example, context):
    context.leads = lambda: False
    example.ask(context=PerPlugin(lambda _: context))
    assert not (context.data_dir / "stations.json").exists()
    context.leads = lambda: True
    example.ask(context=PerPlugin(lambda _: context))
    assert (context.data_dir / "stations.json").read_text() == '["Bergen", "Oslo"]'


def test_hook_startup(example, context):
    example.start(context)
    assert (context.data_dir / "readings").is_dir()


def test_hook_shutdown(example, context):
    example.ask()  # a start that failed
    example.start(context)
    example.ask()
    assert example.module._Here.client is None


def test_hook_config_changed(example):
    old, new = (
        Settings({"weather": example.module.Weather(city=city)}, generation=n, digest="", source="")
        for n, city in enumerate(("Bergen", "Oslo"))
    )
    example.module.kept["Bergen"] = "rain"
    example.ask(old=old, new=old)
    assert example.module.kept
    example.ask(old=old, new=new)
    assert not example.module.kept


def test_hook_health(example):
    (check,) = example.ask()["weather"]
    assert check.ok


def test_hook_doctor(example):
    settings = Settings({}, generation=0, digest="", source="")
    (check,) = example.ask(settings=settings)["weather"]
    assert check.repair


def test_hook_metrics(example, context):
    example.start(context)
    (metric,) = example.ask()["weather"]
    assert (metric.name, metric.samples) == ("readings", {(): 7.0})


def test_hook_authenticate(example):
    right = Credentials(name="guest", password="welcome to the lighthouse")
    assert example.ask(credentials=right).name == "guest"
    for name, password in (("guest", "wrong"), ("nobody", ""), ("guest", "")):
        assert example.ask(credentials=Credentials(name=name, password=password)) is None


def test_hook_authorize(example):
    user = Identity(account_id="acc_1", name="Ada")
    admin = msgspec.structs.replace(user, role="admin")
    example.ask(identity=admin, action="session.delete", target="ses_1")
    example.ask(identity=user, action="session.read", target="ses_1")
    with pytest.raises(Refusal, match="Sessions are kept here"):
        example.ask(identity=user, action="session.delete", target="ses_1")


def test_hook_session_starting(example):
    example.ask(session=SESSION, account=ACCOUNT)
    archive = msgspec.structs.replace(SESSION, workspace="/home/ada/archive")
    with pytest.raises(Refusal, match="The archive is for reading, Ada"):
        example.ask(session=archive, account=ACCOUNT)


def test_hook_budget_reserve(example):
    first, again = (example.ask(session=SESSION, account=ACCOUNT) for _ in range(2))
    assert first == again
    assert first.limit_usd == 2.5


def test_hook_spawn(example):
    plan = example.ask(session=SESSION, plan=PLAN)
    assert plan.env == {"A": "1", "WEATHER_DATA": "/usr/share/weather"}
    assert (plan.argv, plan.cwd, plan.readable) == (PLAN.argv, PLAN.cwd, ("/usr/share/weather",))


def test_hook_confine(example):
    plan = example.ask(session=SESSION, plan=PLAN)
    assert plan.argv[-1] == "/usr/bin/agent"
    assert (plan.confined_by, plan.cwd, plan.env) == ("firejail", PLAN.cwd, PLAN.env)


def test_hook_session_started(example):
    example.ask(session=SESSION)
    assert example.module.running == {"ses_1"}


def test_hook_session_stopping(example):
    async def stop():
        recorder = await asyncio.create_subprocess_exec("sleep", "600")
        example.module.recorders["ses_1"] = recorder
        await example.hooks.run("session_stopping", session=SESSION, reason="idle")
        await example.hooks.run("session_stopping", session=SESSION, reason="idle")
        return recorder.returncode

    assert asyncio.run(stop()) == -15


def test_hook_tool_ended(example):
    for is_error in (True, False, True):
        example.ask(session=SESSION, call=ToolCall(id="call_1", name="bash", is_error=is_error))
    assert example.module.failures == {"bash": 2}


def test_hook_agent_gone(example, context):
    example.start(context)
    example.ask(session=SESSION, outcome=Outcome(reason="asked"))
    example.ask(session=SESSION, outcome=Outcome(reason="idle"))
    ((session_id, event),) = context.told
    assert (session_id, json.loads(msgspec.json.encode(event))["event"]) == ("ses_1", "notify")


def test_hook_session_stopped(example):
    for _again in range(2):
        example.ask(session=SESSION, outcome=Outcome(reason="idle"))
    assert example.module.ended == {"ses_1": "idle"}


def test_hook_budget_settle(example):
    example.module.bills["wallet-of-ses_1"] = 5
    assert example.ask(session=SESSION, reservation_id="wallet-of-ses_1").spent_nusd == 5
    assert example.ask(session=SESSION, reservation_id="").spent_nusd == 5


def test_hook_budget_usage(example):
    assert example.ask(account=ACCOUNT).calls == 42


def test_hook_list_models(example):
    (source,) = example.ask(account=ACCOUNT)["weather"]
    assert source.models[0].id == "small"


def test_hook_list_templates(example):
    (template,) = example.ask(account=ACCOUNT)["weather"]
    assert template.name == "report"


def test_hook_create_workspace(example, tmp_path):
    assert example.ask(request=WorkspaceRequest(path=str(tmp_path / "a"))) is None
    made = example.ask(request=WorkspaceRequest(path=str(tmp_path / "b"), template="report"))
    assert made.is_new
    assert (tmp_path / "b" / "outline.md").is_file()
