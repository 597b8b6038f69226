"""Procedural actions by kind. Each is a function of a ``Figure``; right-handed where sides differ."""

from tools.training.actions import air, arms, dance, floor, gaits, seats, sports, stands, work

ACTIONS = {
    **gaits.ACTIONS,
    **stands.ACTIONS,
    **seats.ACTIONS,
    **floor.ACTIONS,
    **air.ACTIONS,
    **arms.ACTIONS,
    **work.ACTIONS,
    **sports.ACTIONS,
    **dance.ACTIONS,
}
