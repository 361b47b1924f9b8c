"""Scorers that ask the language model itself about a finished answer, in words, and read the probabilities of its next token.

P(True) is that of Kadavath et al., "Language models (mostly) know what they know", 2022; the rating is a judging prompt. They
rank complete answers; they cannot guide a search, since each costs a prompt with the statement and the whole answer.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any, cast

from ..data_builder.problems.problem import Problem
from ..data_builder.problems.prompts import PromptTemplate, interface
from ..engine.errors import ModelError
from ..engine.language_model import LanguageModel
from ..engine.scorers import P_TRUE, RATING

_HELD_BYTES = 1 << 28  # the statement is read once for all answers, an answer once for all words


@dataclass(frozen=True)
class Judgement:
    """A question about an answer, and what each word that may reply to it is worth."""

    question: str
    words: dict[str, float]


TEXT_SCORERS = {
    P_TRUE: Judgement("Is the proposed answer correct? Reply with one word, True or False.", {"True": 1.0, "False": 0.0}),
    RATING: Judgement(
        "How likely is it that the proposed answer is correct? Reply with one word: impossible, unlikely, likely or certain.",
        {"impossible": 0.0, "unlikely": 1 / 3, "likely": 2 / 3, "certain": 1.0},
    ),
}


def check_asked(scorers: Iterable[str], backend: str) -> None:
    """Raise ModelError where a scorer asks the model and the backend's models cannot read an answer."""
    asking = [name for name in scorers if name in TEXT_SCORERS]
    if asking and backend != "torch":
        raise ModelError(f"with --backend {backend} no answer can be asked about: leave out {', '.join(asking)}")


def judged_scores(
    model: LanguageModel,
    tokenizer: Any,
    judgement: Judgement,
    problem: Problem,
    programs: Sequence[str],
    template: PromptTemplate,
) -> list[float | None]:
    """The expected worth of the model's reply for each program, among the words that are offered; None where there is no program.

    Raises ModelError where the model's tokens cannot tell the words apart, SettingsError where it cannot read answers.
    """
    first = first_tokens(tokenizer, judgement)
    asked: dict[str, float] = {}
    model.hold_prefixes(_HELD_BYTES)
    try:
        for program in dict.fromkeys(filter(str.strip, programs)):
            prompt = judgement_ids(tokenizer, judgement, problem, program, template)
            asked[program] = _worth(model, prompt, judgement, first)
    finally:
        model.hold_prefixes(0)
    return [asked.get(program) for program in programs]


def judgement_ids(tokenizer: Any, judgement: Judgement, problem: Problem, program: str, template: PromptTemplate) -> list[int]:
    """The prompt's token ids, up to where the model replies."""
    user = (
        f"{problem.statement.strip()}\n\n{interface(problem, template)}\n\n"
        f"Proposed answer:\n\n```python\n{program.strip()}\n```\n\n{judgement.question}"
    )
    messages = [{"role": "system", "content": template.system}, {"role": "user", "content": user}]
    return cast(list[int], tokenizer.apply_chat_template(messages, add_generation_prompt=True))


def first_tokens(tokenizer: Any, judgement: Judgement) -> dict[str, int]:
    """The token that each word begins with. Raises ModelError where two words begin alike."""
    first = {word: int(tokenizer.encode(word, add_special_tokens=False)[0]) for word in judgement.words}
    if len(set(first.values())) < len(first):
        raise ModelError(f"this model's tokens do not tell {', '.join(judgement.words)} apart by their beginnings")
    return first


def _worth(model: LanguageModel, prompt: Sequence[int], judgement: Judgement, first: dict[str, int]) -> float:
    logprobs = {word: float(model.logprobs(prompt, [token])[0]) for word, token in first.items()}
    highest = max(logprobs.values())
    shares = {word: math.exp(logprob - highest) for word, logprob in logprobs.items()}
    return sum(share * judgement.words[word] for word, share in shares.items()) / sum(shares.values())
