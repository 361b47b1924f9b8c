"""guided-gen: value-guided decoding that makes small language models write correct code more often.

    from guided_gen import GuidedGenerator

Names are loaded when they are first used, so that importing the package, and `guided-gen --help`, stay fast.
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any

__version__ = "0.1.0"

# What the docs name, by the module that it is defined in.
_DEFINED_IN = {
    "generator": ["GuidedGenerator"],
    "solving": ["Solving"],
    "solution": ["Candidate", "Finished", "Grown", "Progress", "Settled", "Solution", "Solved", "Standing"],
    "question": ["Chat", "Continuation"],
    "scoring": ["ScoredText"],
    "data_builder.judge.judge": ["Judge"],
    "data_builder.problems.loaders": ["load_problems"],
    "data_builder.problems.problem": ["Problem"],
    "engine.models.loading": ["load_model"],
    "valuemodel.model": ["ValueModel"],
    "engine.search": ["SearchSettings"],
    "engine.sampling": ["Sampling"],
    "engine.tree": ["Ended", "Tree"],
    "engine.policies": ["Beam", "BestOfN", "EarlyStop", "Policy", "SpeculativeRejection", "ThresholdCurve", "View"],
    "engine.tree_policies": ["DVTS", "MCTS", "REBASE", "ForkingSearch", "ParticleFilter"],
    "engine.vllm_backend.settings": ["VllmSettings"],
    "engine.errors": ["BackendError", "ContextError", "GuidedGenError", "SettingsError"],
}
_MODULE_OF = {name: module for module, names in _DEFINED_IN.items() for name in names}
__all__ = [
    "DVTS",
    "MCTS",
    "REBASE",
    "BackendError",
    "Beam",
    "BestOfN",
    "Candidate",
    "Chat",
    "ContextError",
    "Continuation",
    "EarlyStop",
    "Ended",
    "Finished",
    "ForkingSearch",
    "Grown",
    "GuidedGenError",
    "GuidedGenerator",
    "Judge",
    "ParticleFilter",
    "Policy",
    "Problem",
    "Progress",
    "Sampling",
    "ScoredText",
    "SearchSettings",
    "SettingsError",
    "Settled",
    "Solution",
    "Solved",
    "Solving",
    "SpeculativeRejection",
    "Standing",
    "ThresholdCurve",
    "Tree",
    "ValueModel",
    "View",
    "VllmSettings",
    "__version__",
    "load_model",
    "load_problems",
]

if TYPE_CHECKING:
    from .data_builder.judge.judge import Judge
    from .data_builder.problems.loaders import load_problems
    from .data_builder.problems.problem import Problem
    from .engine.errors import BackendError, ContextError, GuidedGenError, SettingsError
    from .engine.models.loading import load_model
    from .engine.policies import Beam, BestOfN, EarlyStop, Policy, SpeculativeRejection, ThresholdCurve, View
    from .engine.sampling import Sampling
    from .engine.search import SearchSettings
    from .engine.tree import Ended, Tree
    from .engine.tree_policies import DVTS, MCTS, REBASE, ForkingSearch, ParticleFilter
    from .engine.vllm_backend.settings import VllmSettings
    from .generator import GuidedGenerator
    from .question import Chat, Continuation
    from .scoring import ScoredText
    from .solution import Candidate, Finished, Grown, Progress, Settled, Solution, Solved, Standing
    from .solving import Solving
    from .valuemodel.model import ValueModel


def __getattr__(name: str) -> Any:
    if name not in _MODULE_OF:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(f".{_MODULE_OF[name]}", __name__), name)


def __dir__() -> list[str]:
    return sorted(__all__)
