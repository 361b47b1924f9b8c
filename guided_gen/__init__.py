"""guided-gen: value-guided decoding that makes small language models write correct code more often.

    from guided_gen import GuidedGenerator

The front door is loaded when it is first used, so that importing the package, and `guided-gen --help`, stay fast.
"""

from typing import TYPE_CHECKING, Any

__version__ = "0.1.0"
__all__ = ["GuidedGenerator", "__version__"]

if TYPE_CHECKING:
    from .generator import GuidedGenerator


def __getattr__(name: str) -> Any:
    if name == "GuidedGenerator":
        from .generator import GuidedGenerator

        return GuidedGenerator
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
