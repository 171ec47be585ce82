"""Colours by role, light and dark. Plots use placeholder colours that become variables of the style sheet."""

ROLES = {
    "page": ("#f7f6f2", "#121211"),
    "surface": ("#fdfdfb", "#1b1b19"),
    "line": ("#e3e1d8", "#32322f"),
    "axis": ("#bdbbb0", "#4a4a45"),
    "ink": ("#131312", "#f4f3ee"),
    "soft": ("#55544e", "#bfbdb2"),
    "faint": ("#8a887f", "#8a887f"),
    "dots": ("#c9c7bc", "#4b4b46"),
    "main": ("#2468c9", "#5b9bf0"),
    "part": ("#8db4e8", "#3b5f92"),
    "peer": ("#b5b3a8", "#6a6962"),
    "path": ("#d9541e", "#f08a4b"),
    "past": ("#128a66", "#3cbf95"),
    "next": ("#b98600", "#e6b53a"),
}
"""Light and dark colour of each role."""

_STAND_INS = {role: f"#00fe{number:02x}" for number, role in enumerate(ROLES)}


def stand_in(role: str) -> str:
    """Name the placeholder colour of a role, which `fill_in` replaces."""
    return _STAND_INS[role]


def fill_in(svg: str) -> str:
    """Replace placeholder colours by variables of the style sheet."""
    for role, colour in _STAND_INS.items():
        svg = svg.replace(colour, f"var(--{role})")
    return svg


def variables() -> str:
    """Write the variables of the style sheet: light, and dark if the reader's system prefers it."""
    light, dark = ("".join(f"--{role}:{both[n]};" for role, both in ROLES.items()) for n in (0, 1))
    return f":root{{color-scheme:light dark;{light}}}\n@media (prefers-color-scheme:dark){{:root{{{dark}}}}}\n"
