"""Whatever is written in whichever way: what holds is the last text that was right, and restart keys as started."""

from __future__ import annotations

import shutil
import tempfile
from pathlib import Path

from hypothesis import given, settings
from hypothesis import strategies as st

from oqto_platform import config
from oqto_platform.config.live import Live
from oqto_platform.config.sections import Server, Sessions
from oqto_platform.errors import ConfigError

HOME = {"HOME": "/home/ada"}
GOOD = st.builds(
    "# {0}\n[sessions]\nidle_timeout_minutes = {1}\n[server]\nlisten = '127.0.0.1:{2}'\n".format,
    st.text("abc ", max_size=5),
    st.integers(1, 99),
    st.integers(1, 65535),
)
BAD = st.sampled_from(
    [
        "[sessions\n",
        "[sesions]\n",
        "[sessions]\nidle_timeout_minutes = 0\n",
        "[sessions]\nidle_timeout_minutes = 'x'\n",
        "[sessions]\nidle_timeout_minutes = 1\nidle_timeout_minutes = 2\n",
        "[server]\nlisten = 'nowhere'\n",
        "[server]\nadmin_socket_path = '$NOWHERE/s'\n",
        "[auth]\ndev_mode = false\n",
        "[container]\nruntime = 'docker'\n",
        "\x00",
    ]
)
WAYS = st.sampled_from(["in place", "renamed over", "link", "removed"])


def write(path: Path, way: str, text: str) -> None:
    if way == "in place" and path.exists():
        path.write_text(text)
        return
    new = path.with_name("new")
    new.unlink(missing_ok=True)
    if way == "link":
        target = Path(tempfile.mkdtemp(dir=path.parent)) / "target.toml"
        target.write_text(text)
        new.symlink_to(target)
    else:
        new.write_text(text)
    new.replace(path)


@settings(max_examples=60, deadline=None)
@given(st.lists(st.tuples(st.one_of(GOOD, BAD), WAYS), max_size=12))
def test_any_sequence_of_edits_ends_in_the_last_good_snapshot(edits):
    folder = Path(tempfile.mkdtemp())
    path, env = folder / "config.toml", HOME | {"OQTO_CONFIG": str(folder / "config.toml")}
    path.write_text("")

    def load(generation: int):
        return config.load(config.relocate(env, "", path), env, generation=generation)

    live, last_good = Live(load(1), load), ""
    try:
        for text, way in edits:
            before = live.current
            if way == "removed":
                path.unlink(missing_ok=True)
            else:
                write(path, way, text)
            is_good = way != "removed" and text.startswith("# ")
            last_good = text if is_good else last_good
            try:
                live.reload()
            except ConfigError:
                assert not is_good
                assert live.current is before
            else:
                assert is_good
            assert bool(live.error) != is_good
        path.unlink(missing_ok=True)
        path.write_text(last_good)
        expected = config.load(path, HOME)
        held = live.current
        assert held.section("sessions", Sessions) == expected.section("sessions", Sessions)
        assert held.section("server", Server).listen == "127.0.0.1:8080"
        is_other = expected.section("server", Server).listen != "127.0.0.1:8080"
        assert live.pending == (("server.listen",) if is_other else ())
    finally:
        shutil.rmtree(folder)
