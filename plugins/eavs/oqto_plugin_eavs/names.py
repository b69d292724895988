"""Ids of keys that people can say to each other: `calm-otter`. They name a key and open nothing."""

from __future__ import annotations

import secrets
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Container

_QUALITIES = """
able agile airy amber apt azure balmy bold brave brief bright brisk broad calm candid clear clever
cosy crisp curious deep deft eager early earnest easy even fair famous fine firm fleet fluent fond
frank free fresh gentle glad golden grand green handy happy hardy honest humble ideal jolly keen
kind large late lively loyal lucid lucky mellow merry mild modest neat nimble noble novel open
patient plain polite proud prime quick quiet rapid rare ready rosy round safe serene sharp shiny
silent simple sleek smart smooth snug sober solid spry steady still stout sturdy sunny sure swift
tall tidy trim true upbeat vivid warm wary whole wise witty young zesty
"""
_THINGS = """
acorn alder anchor apple arch aspen atlas badger basil bay beacon beech birch bison bridge brook
cabin canyon cedar cherry cliff clover comet compass coral crane creek cricket dawn delta dove dune
eagle elm falcon fern field finch fjord forest fox garden gecko glade grove gull harbor hare hawk
hazel heron hill ibis iris island ivy jade juniper kestrel lagoon lake lantern lark laurel lemon
lily linden lotus lynx magpie maple marlin meadow mint moon moss mountain nutmeg oak ocean olive
orchid osprey otter owl palm panda pearl pebble pine plover poplar prairie quail rabbit raven reef
ridge river robin rowan sage sail salmon seal sparrow spruce star stone stork summit swan thicket
thistle thyme tiger trail tulip valley violet walnut willow wren yarrow
"""
FIRST, SECOND = _QUALITIES.split(), _THINGS.split()


def new_name(taken: Container[str]) -> str:
    """A name that is not taken; with a number once luck runs out."""
    for _ in range(20):
        name = f"{secrets.choice(FIRST)}-{secrets.choice(SECOND)}"
        if name not in taken:
            return name
    while (numbered := f"{name}-{secrets.randbelow(1_000_000)}") in taken:
        pass
    return numbered
