"""Libraries without their docstrings: which, where their code is kept, and when they are left alone."""

from __future__ import annotations

import os
import subprocess
import sys
from importlib.util import cache_from_source

import pytest

LOUD = '"""Many words."""\ndef f():\n    """More words."""\n    assert \'kept\' == \'\'\n    return {value}\n'


@pytest.fixture
def library(tmp_path):
    package = tmp_path / "loud"
    package.mkdir()
    (package / "__init__.py").write_text(LOUD.format(value=1))
    return package


def tried(library, check: str, load: str = "'loud'", *flags: str) -> None:
    program = f"from oqto_platform import terse\nterse.load({load})\nimport loud\n{check}"
    env = {name: value for name, value in os.environ.items() if name != "PYTHONDONTWRITEBYTECODE"}
    done = subprocess.run(
        [sys.executable, *flags, "-c", program],
        cwd=library.parent,
        env=env,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr


def test_a_named_library_has_no_docstrings_and_its_code_is_kept(library):
    tried(library, "assert loud.__doc__ is None and loud.f.__doc__ is None and loud.f() == 1")
    assert (library / "__pycache__").is_dir()
    assert [path.name for path in (library / "__pycache__").iterdir()] == [
        cache_from_source("__init__.py", optimization=2).rpartition("/")[2]
    ]


def test_another_library_is_left_alone(library):
    tried(
        library, "assert loud.__doc__ == 'Many words.' and loud.f.__doc__ == 'More words.'", "'lou', 'loude'"
    )


def test_a_new_version_is_seen(library):
    tried(library, "assert loud.f() == 1")
    (library / "__init__.py").write_text(LOUD.format(value="'another'"))
    tried(library, "assert loud.f() == 'another' and loud.__doc__ is None")


def test_where_nothing_can_be_kept_it_is_loaded_as_ever(library):
    """Else it would be compiled at each start."""
    tried(library, "assert loud.__doc__ == 'Many words.'", "'loud'", "-B")
    assert not (library / "__pycache__").exists()


def test_the_libraries_of_a_worker_work_without_their_docstrings():
    program = (
        "from oqto_platform import terse, worker\n"
        "terse.load(*worker.LIBRARIES)\n"
        "import litestar, sqlalchemy.orm, sqlmodel\n"
        "assert sqlalchemy.orm.Session.__doc__ is litestar.Litestar.__doc__ is None\n"
        "from oqto_platform.db.models import AccountRow\n"
        "engine = sqlmodel.create_engine('sqlite://')\n"
        "AccountRow.metadata.create_all(engine)\n"
        "with sqlmodel.Session(engine) as s:\n"
        "    s.add(AccountRow(id='a', name='Ada', name_key='ada', password_hash='', created_at=1.0)); s.commit()\n"
        "    assert s.exec(sqlmodel.select(AccountRow)).one().name == 'Ada'"
    )
    subprocess.run([sys.executable, "-c", program], check=True)
