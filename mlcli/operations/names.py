"""Readable names for runs that were given none: two words and a random tail, as in ``calm_harbor_7k2m9xq4``."""

from __future__ import annotations

import secrets

_QUALITIES = (
    "able agile amber ample azure bold brave brief bright brisk broad busy calm candid clear clever coral crisp dapper deep "
    "eager early easy fair fancy fast fine firm fond frank free fresh gentle glad golden good grand great green happy "
    "hardy honest humble ideal jolly jovial keen kind large light lively loyal lucid lucky mellow merry mild modest neat "
    "nimble noble olive patient plain plucky polite proud quick quiet rapid ready rosy royal ruby sharp shiny silent "
    "silver simple sleek smart smooth snug solid stable steady strong sunny sweet swift tidy tough upbeat vivid warm wise witty"
).split()
_THINGS = (
    "acorn anchor apple arch atlas badge basin beach beacon bell berry birch bloom boat bridge brook candle canyon castle "
    "cedar cherry cliff cloud clover coast comet coral cove crane creek crown dawn delta desert dune eagle ember falcon "
    "farm feather fern field finch fjord forest fountain fox garden gate glacier grove gull harbor hawk heron hill island "
    "ivy jungle kettle lagoon lake lantern leaf lemon lily lion lotus lynx maple marble meadow mill moon moss mountain "
    "oak ocean olive orchid otter owl palm peach pearl pebble pine planet plum pond prairie quartz rain raven reef ridge "
    "river robin rose sail sand shell shore sky snow spruce star stone stream sun swan thistle tide tiger tower trail "
    "tulip valley violet wave willow wind wolf wren yacht"
).split()
_TAIL = "0123456789abcdefghjkmnpqrstvwxyz"  # no letters that read like digits


def generate() -> str:
    """A new name; the tail holds 40 random bits, so that names made at once on many machines do not meet."""
    tail = "".join(secrets.choice(_TAIL) for _ in range(8))
    return f"{secrets.choice(_QUALITIES)}_{secrets.choice(_THINGS)}_{tail}"
