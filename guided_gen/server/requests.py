"""What clients may send: OpenAI's requests, with `guided` for the search's own settings.

What would change an answer and cannot be honoured is refused, not ignored; fields that only describe the caller are ignored.
"""

from __future__ import annotations

import secrets
from typing import Annotated, Any, Literal

from pydantic import Field, FiniteFloat, StringConstraints, field_validator, model_validator

from ..engine.grammar import Grammar
from ..engine.policy_names import as_policy
from ..engine.scorers import as_scorer
from ..engine.search import SearchSettings
from ..generator import GuidedGenerator
from ..question import Chat, Continuation, Question
from .answer_room import answer_room
from .errors import ApiError
from .limits import ServerLimits
from .messages import Messages, Strict
from .policies import asked_policy, own_policy
from .tools import Toolbox

Int64 = Annotated[int, Field(ge=-(1 << 63), lt=1 << 63)]
Stop = Annotated[str, StringConstraints(min_length=1, max_length=200)]
Penalty = Annotated[FiniteFloat, Field(ge=-2, le=2)]
TokenId = Annotated[int, Field(ge=0, lt=1 << 31)]
NOT_SUPPORTED = {
    "audio": "answers are text",
    "best_of": "send guided.n, the number of candidates",
    "background": "an answer is sent as soon as it is there",
    "conversation": "send the messages, or previous_response_id",
    "context_management": "a prompt is never cut",
    "echo": "a prompt is not sent back; POST /v1/score reads given texts",
    "function_call": "send tool_choice",
    "functions": "send tools",
    "max_tool_calls": "the server calls no tools itself",
    "modalities": "answers are text",
    "moderation": "nothing is moderated",
    "prediction": "nothing is predicted",
    "prompt_cache_options": "prompts are kept by themselves",
    "reasoning": "the model does not reason aside",
    "reasoning_effort": "the model does not reason aside",
    "suffix": "the model only goes on with a text",
    "truncation": "a prompt is never cut",
    "verbosity": "ask for short or long answers in the prompt",
    "web_search_options": "the server searches no web",
}
NEUTRAL: dict[str, Any] = {"modalities": ["text"], "truncation": "disabled", "best_of": 1, "verbosity": "medium"}


class Guided(Strict):
    """How to search; what is left out is the server's default. `examples`: find examples that the last message of the user
    prints, and rank answers below that fail them in the judge's sandbox.
    """

    policy: Annotated[str, Field(max_length=200)] | None = None
    scorer: Annotated[str, Field(max_length=50)] | None = None
    n: Annotated[int, Field(ge=1, le=1 << 20)] | None = None
    budget: Annotated[int, Field(ge=1, lt=1 << 31)] | None = None
    check_every: Annotated[int, Field(ge=1, le=1 << 20)] | None = None
    check_at: Literal["tokens", "lines"] | None = None
    top_k: Annotated[int, Field(ge=0, le=1 << 20)] | None = None
    enough: Annotated[FiniteFloat, Field(gt=0, le=2)] | None = None
    most: Annotated[int, Field(ge=1, le=1 << 20)] | None = None
    examples: bool = False


class StreamOptions(Strict):
    include_usage: bool = False
    include_obfuscation: bool = False


class SearchRequest(Strict):
    """What chats and completions have in common."""

    model: Annotated[str, Field(max_length=500)]
    n: Annotated[int, Field(ge=1, le=128)] | None = 1
    temperature: Annotated[FiniteFloat, Field(ge=0, le=10)] | None = None
    top_p: Annotated[FiniteFloat, Field(gt=0, le=1)] | None = None
    max_tokens: Annotated[int, Field(ge=1, lt=1 << 31)] | None = None
    top_k: Annotated[int, Field(ge=-1, le=1 << 20)] | None = None
    min_p: Annotated[FiniteFloat, Field(ge=0, le=1)] | None = None
    stop: Stop | Annotated[list[Stop], Field(max_length=4)] | None = None
    seed: Int64 | None = None
    stream: bool | None = False
    stream_options: StreamOptions | None = None
    guided: Guided | None = None
    presence_penalty: Penalty | None = None
    frequency_penalty: Penalty | None = None
    logit_bias: Annotated[dict[TokenId, Annotated[FiniteFloat, Field(ge=-100, le=100)]], Field(max_length=1024)] | None = None
    user: str | None = None

    @model_validator(mode="before")
    @classmethod
    def _by_name(cls, data: Any) -> Any:
        """What is known and not supported is refused by its own name. Raises ApiError."""
        for name, why in NOT_SUPPORTED.items():
            if isinstance(data, dict) and name not in cls.model_fields and data.get(name) not in (None, False, NEUTRAL.get(name)):
                raise ApiError(400, f"{name} is not supported: {why}", param=name, code="unsupported_parameter")
        return (
            {name: value for name, value in data.items() if name not in NOT_SUPPORTED or name in cls.model_fields}
            if isinstance(data, dict)
            else data
        )

    @property
    def stops(self) -> list[str]:
        return [self.stop] if isinstance(self.stop, str) else self.stop or []

    @property
    def answer_tokens(self) -> int | None:
        return self.max_tokens

    @property
    def alternatives(self) -> int:
        """How many of the model's most likely tokens to tell beside each token."""
        return 0

    @property
    def toolbox(self) -> Toolbox | None:
        """The tools that answers may call."""
        return None

    def grammar(self, generator: GuidedGenerator) -> Grammar | None:
        """What answers must be. Raises ApiError."""
        return None

    @property
    def wanted(self) -> int:
        """How many answers to return."""
        return self.n or 1

    def changes(
        self, generator: GuidedGenerator, default: SearchSettings, limits: ServerLimits, question: Question
    ) -> dict[str, Any]:
        """What `GuidedGenerator.stream` is to change of the server's `default` for `question`. Raises ApiError where it is beyond
        the limits, SettingsError where it makes no sense.
        """
        guided = self.guided or Guided()
        if (self.answer_tokens or 0) > limits.new_tokens:
            told = f"an answer may have {limits.new_tokens} tokens here, not {self.answer_tokens}"
            raise ApiError(400, told, param="max_tokens")
        tokens = answer_room(generator, question, limits, self.answer_tokens, default.max_new_tokens)
        candidates = guided.n or max(default.n, self.wanted)
        if candidates > limits.candidates:
            raise ApiError(400, f"a search may have {limits.candidates} candidates here, not {candidates}", param="n")
        if candidates < self.wanted:
            raise ApiError(400, f"a search among {candidates} candidates has no {self.wanted} answers", param="guided.n")
        if guided.most is not None and not candidates <= guided.most <= limits.candidates:
            told = f"a search of {candidates} candidates may go on to {candidates} to {limits.candidates} here, not {guided.most}"
            raise ApiError(400, told, param="guided.most")
        if guided.scorer == "value" and not generator.loaded.language_model.scores:
            raise ApiError(400, "this server has no value model", param="guided.scorer")
        most = (guided.most or candidates) * tokens
        at_lines = bool(default.line_ends) if guided.check_at is None else guided.check_at == "lines"
        check_every = guided.check_every or default.check_every
        scorer = as_scorer(guided.scorer or default.scorer or generator.scorer_for(question))
        if guided.policy is None:
            policy = own_policy(as_policy(default.policy), guided, scorer, None if at_lines else check_every)
        else:
            policy = asked_policy(guided.policy)
        asked = {
            "temperature": self.temperature,
            "top_p": self.top_p,
            "top_k": guided.top_k if self.top_k is None else max(self.top_k, 0),
            "min_p": self.min_p,
            "presence_penalty": self.presence_penalty,
            "frequency_penalty": self.frequency_penalty,
            "bias": tuple(self.logit_bias.items()) if self.logit_bias else None,
            "grammar": self.grammar(generator),
            "alternatives": self.alternatives or None,
            "check_at": guided.check_at,
            "enough": guided.enough,
            "most": guided.most,
        }
        return {name: value for name, value in asked.items() if value is not None} | {
            "n": candidates,
            "max_new_tokens": tokens,
            "policy": policy,
            "scorer": scorer,
            "check_every": check_every,
            "budget": min(guided.budget or default.budget or most, most),
            "seed": secrets.randbits(31) if self.seed is None else self.seed,
        }


class DialogueRequest(SearchRequest):
    """What chats have in common in both of OpenAI's APIs; what only describes the caller is read by nothing."""

    top_logprobs: Annotated[int, Field(ge=0, le=20)] | None = None
    parallel_tool_calls: bool | None = None
    metadata: dict[str, Any] | None = None
    store: bool | None = None
    service_tier: str | None = None
    safety_identifier: str | None = None
    prompt_cache_key: str | None = None
    prompt_cache_retention: str | None = None


TokenIds = Annotated[list[TokenId], Field(min_length=1)]


class CompletionRequest(SearchRequest):
    prompt: str | TokenIds | Annotated[list[str | TokenIds], Field(min_length=1)]
    logprobs: Annotated[int, Field(ge=0, le=20)] | None = None

    @property
    def alternatives(self) -> int:
        return self.logprobs or 0

    def question(self) -> Continuation:
        """Raises ApiError where there are several prompts."""
        prompt = self.prompt
        if isinstance(prompt, list) and not isinstance(prompt[0], int):
            if len(prompt) > 1:
                raise ApiError(400, "several prompts in one request are not supported: send a request for each", param="prompt")
            prompt = prompt[0]
        return Continuation(prompt if isinstance(prompt, str) else tuple(prompt))  # type: ignore[arg-type]


class ScoreRequest(Strict):
    """Texts to score as answers to a chat, or as what follows a prompt: one of `messages` and `prompt`."""

    model: Annotated[str, Field(max_length=500)]
    messages: Messages | None = None
    prompt: Annotated[str, StringConstraints(min_length=1)] | None = None
    texts: Annotated[list[Annotated[str, StringConstraints(min_length=1)]], Field(min_length=1)]

    @field_validator("prompt")
    @classmethod
    def _one(cls, prompt: str | None, info: Any) -> str | None:
        if prompt is not None and info.data.get("messages") is not None:
            raise ValueError("give messages or a prompt, not both")
        return prompt

    def question(self) -> Chat | Continuation:
        """What is scored. Raises ApiError."""
        if self.messages is not None:
            return Chat([message.as_dict() for message in self.messages])
        if self.prompt is None:
            raise ApiError(400, "give messages or a prompt that the texts answer", param="messages")
        return Continuation(self.prompt)
