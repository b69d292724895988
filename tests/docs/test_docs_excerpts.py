"""What a page quotes from an example is what stands there."""

from __future__ import annotations

import pytest


def quotes(documents):
    for block in documents.blocks():
        for word in block.words[1:]:
            if word.startswith("from="):
                yield block, word.removeprefix("from=")


def test_every_quote_stands_in_its_file(documents, repository):
    missing = [
        f"{block.page}: {name}: {block.body.splitlines()[0].strip()}"
        for block, name in quotes(documents)
        if not (repository / name).is_file() or block.body not in (repository / name).read_text()
    ]
    assert missing == []


@pytest.mark.parametrize("name", ["notes", "diff", "quota", "htpasswd", "webhook", "parrot"])
def test_every_example_has_a_page_that_quotes_it(documents, name):
    assert any(file.startswith(f"examples/oqto-plugin-{name}/") for _, file in quotes(documents))
