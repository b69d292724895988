"""People from a htpasswd file sign in; nobody else does, and nobody learns who is in it."""

from __future__ import annotations

import bcrypt
import httpx
import pytest
from oqto_plugin_htpasswd import verifying
from oqto_plugin_htpasswd.verifying import is_right, problem_of
from passlib.hash import apr_md5_crypt, ldap_sha1, sha512_crypt

from oqto_platform.testing import PluginContract

KINDS = {
    "bcrypt": bcrypt.hashpw(b"lighthouse", bcrypt.gensalt(4, b"2b")).decode().replace("$2b$", "$2y$", 1),
    "sha512": sha512_crypt.using(rounds=1000).hash("lighthouse"),
    "apr1": apr_md5_crypt.hash("lighthouse"),
    "sha": ldap_sha1.hash("lighthouse"),
}


class TestContract(PluginContract):
    plugin = "htpasswd"


@pytest.fixture(scope="module")
def file(tmp_path_factory):
    path = tmp_path_factory.mktemp("people") / "htpasswd"
    lines = [*(f"{name}:{hashed}" for name, hashed in KINDS.items()), "plain:lighthouse"]
    path.write_text("\n".join(lines) + "\n")
    return path


@pytest.fixture(scope="module")
def oqto_plugins():
    return ("htpasswd",)


@pytest.fixture(scope="module")
def oqto_settings(file):
    return {"htpasswd.file": str(file)}


@pytest.mark.parametrize("name", KINDS)
def test_the_right_password_of_every_kind_is_taken(file, name):
    assert is_right(str(file), name, "lighthouse")
    assert not is_right(str(file), name, "Lighthouse")
    assert not is_right(str(file), name, "")


def test_plain_text_is_never_a_hash(file):
    assert not is_right(str(file), "plain", "lighthouse")
    assert "plain" in problem_of(str(file))


def test_a_name_that_is_not_there_costs_a_comparison(file, monkeypatch):
    compared = []
    monkeypatch.setattr(verifying.HASHES, "verify", lambda password, found: compared.append(found) or True)
    assert not is_right(str(file), "nobody", "lighthouse")
    assert compared == [KINDS["bcrypt"].encode()]


def test_a_changed_file_holds_from_the_next_sign_in_on(tmp_path):
    path = tmp_path / "htpasswd"
    path.write_text(f"ada:{KINDS['sha']}\n")
    assert is_right(str(path), "ada", "lighthouse")
    path.write_text("")
    assert not is_right(str(path), "ada", "lighthouse")
    path.unlink()
    assert not is_right(str(path), "ada", "lighthouse")
    assert "cannot be read" in problem_of(str(path))


def test_whoever_is_in_the_file_gets_an_account_without_rights(oqto):
    for _again in range(2):
        with httpx.Client(base_url=oqto.url, trust_env=False) as client:
            answer = client.post("/api/auth/login", json={"name": "bcrypt", "password": "lighthouse"})
            assert answer.status_code == 200, answer.text
            assert (client.get("/api/me").json()["name"], client.get("/api/me").json()["role"]) == (
                "bcrypt",
                "user",
            )


def test_nobody_else_gets_in_and_built_in_passwords_go_on_working(oqto, client):
    for name, password in (("bcrypt", "wrong"), ("nobody", "lighthouse"), ("plain", "lighthouse")):
        assert client.post("/api/auth/login", json={"name": name, "password": password}).status_code == 401
    assert client.get("/api/me").json()["role"] == "admin"
