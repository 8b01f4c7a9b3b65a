"""Which layers of the sandbox are used together, and the name of that combination in every verdict."""

import enum
from typing import NamedTuple, Self


class Layer(enum.StrEnum):
    """A mechanism of the kernel, the strongest first; each has its file in this folder.

    `namespaces` and `root_namespaces` are the same tree and differ in whose right opens them. `user` is a user of the
    zygote's own if root has no namespaces to give it one.
    """

    NAMESPACES = "namespaces"
    ROOT_NAMESPACES = "root_namespaces"
    USER = "user"
    LANDLOCK = "landlock"
    SECCOMP = "seccomp"
    CGROUP = "cgroup"
    RLIMITS = "rlimits"


class SandboxPlan(NamedTuple):
    """The layers that confine a program. Resource limits are always among them."""

    layers: frozenset[Layer]

    @property
    def tier(self) -> str:
        """The layers' names, the strongest first, as written in a verdict."""
        return "+".join(layer for layer in Layer if layer in self.layers)

    @property
    def has_namespaces(self) -> bool:
        """Whether programs live in a file tree, network and process numbers of their own."""
        return Layer.NAMESPACES in self.layers or Layer.ROOT_NAMESPACES in self.layers

    @property
    def has_own_user(self) -> bool:
        """Whether programs run as a user, or in a user's namespace, that nothing else runs in."""
        return self.has_namespaces or Layer.USER in self.layers

    @property
    def lacks(self) -> str:
        """The layers that untrusted programs need and this lacks, in words; empty if there are none."""
        missing = [] if Layer.SECCOMP in self.layers else ["seccomp"]
        if not self.has_namespaces and Layer.LANDLOCK not in self.layers:
            missing.append("Landlock or namespaces")
        return " and ".join(missing)

    @property
    def meets_floor(self) -> bool:
        """Whether this is enough for hostile programs: seccomp, and Landlock or namespaces."""
        return not self.lacks

    @classmethod
    def from_tier(cls, tier: str) -> Self:
        """The plan that `tier` names. Raises `ValueError` if it names an unknown layer."""
        return cls(frozenset(map(Layer, tier.split("+"))) | {Layer.RLIMITS})

    def without(self, *layers: Layer) -> Self:
        """The plan with some layers fewer."""
        return type(self)(self.layers.difference(layers))


RLIMITS_ONLY = SandboxPlan(frozenset({Layer.RLIMITS}))
