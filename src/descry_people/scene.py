"""Cameras and the places they look at. A world is a set of cameras with its own places, and with its own shades,
light and proportions of the figures (`paint`, `photo`).

World 0 is the one the benchmark is drawn in; world 1 shares none of its cameras and places, so that a model
trained on one can be moved to the other.
"""

from __future__ import annotations

from dataclasses import dataclass

from descry.errors import UsageError


@dataclass(frozen=True, slots=True)
class Camera:
    """A camera. cast: gain of red, green, blue. gamma: above 1 darkens. contrast: around middle grey. noise:
    deviation in levels of 255.

    blur: radius in pixels of a 256-pixel picture. tilt: how much it looks down. tall: share of the picture's height
    that a person takes, from and to. places: the kinds of background it sees.
    """

    name: str
    cast: tuple[float, float, float]
    gamma: float
    contrast: float
    noise: float
    blur: float
    tilt: float
    tall: tuple[float, float]
    places: tuple[str, ...]


WORLDS: tuple[tuple[Camera, ...], ...] = (
    (
        Camera("entrance", (1.04, 1.00, 0.94), 1.00, 1.00, 2.6, 0.3, 0.10, (0.86, 0.95), ("room", "corridor")),
        Camera("street", (0.98, 1.00, 1.04), 0.92, 1.06, 3.2, 0.5, 0.18, (0.82, 0.94), ("street", "plaza")),
        Camera("park", (0.98, 1.03, 0.96), 0.96, 1.02, 2.6, 0.4, 0.14, (0.80, 0.94), ("park", "plaza")),
        Camera("platform", (0.97, 1.00, 1.06), 1.12, 0.96, 5.2, 0.7, 0.24, (0.82, 0.93), ("platform", "corridor")),
        Camera("shop", (1.07, 1.00, 0.90), 0.94, 1.00, 3.2, 0.4, 0.22, (0.84, 0.95), ("shop", "room")),
        Camera("evening", (1.08, 0.98, 0.86), 1.22, 0.92, 6.5, 0.8, 0.16, (0.80, 0.93), ("street", "plaza", "room")),
        Camera("office", (1.00, 1.01, 1.00), 0.90, 1.04, 2.0, 0.2, 0.08, (0.86, 0.96), ("room", "corridor", "shop")),
    ),
    (
        Camera("garage", (0.96, 1.02, 0.98), 1.10, 0.95, 5.2, 0.7, 0.26, (0.78, 0.92), ("brick", "tiles")),
        Camera("yard", (1.03, 1.01, 0.95), 0.94, 1.05, 3.2, 0.4, 0.15, (0.80, 0.94), ("brick", "snow")),
        Camera("winter", (0.95, 1.00, 1.08), 0.90, 1.00, 3.9, 0.6, 0.18, (0.80, 0.92), ("snow",)),
        Camera("museum", (1.05, 1.00, 0.93), 1.04, 0.98, 3.2, 0.3, 0.12, (0.84, 0.95), ("hall", "tiles")),
        Camera("airport", (0.99, 1.00, 1.02), 0.92, 1.03, 2.6, 0.5, 0.20, (0.82, 0.94), ("hall",)),
        Camera("beach", (1.05, 1.01, 0.92), 0.86, 1.02, 2.6, 0.3, 0.12, (0.80, 0.93), ("sand",)),
    ),
)


def cameras(world: int = 0) -> tuple[Camera, ...]:
    """The cameras of a world; UsageError for a world that does not exist."""
    if not 0 <= world < len(WORLDS):
        raise UsageError(f"there is no world {world}; allowed are 0 to {len(WORLDS) - 1}")
    return WORLDS[world]
