"""What clients may send: OpenAI's requests, with `guided` for the search's own settings.

What would change an answer and cannot be honoured is refused, not ignored; fields that only describe the caller are ignored.
"""

from __future__ import annotations

import math
import secrets
from dataclasses import asdict
from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field, FiniteFloat, StringConstraints, field_validator

from ..data_builder.problems.plain_text import problem_from_statement
from ..engine.policies import BestOfN, EarlyStop, Policy, ThresholdCurve
from ..engine.policy_names import as_policy, policy_named
from ..engine.scorers import Scorer, as_scorer, value
from ..engine.search import SearchSettings
from ..generator import GuidedGenerator
from ..question import Chat, Continuation, Question
from .errors import ApiError
from .limits import ServerLimits

Int64 = Annotated[int, Field(ge=-(1 << 63), lt=1 << 63)]
Stop = Annotated[str, StringConstraints(min_length=1, max_length=200)]
MOST = 1000  # of a policy's own numbers: simulations, widths
Zero = Annotated[FiniteFloat, Field(ge=0, le=0)]


class Strict(BaseModel):
    model_config = ConfigDict(extra="forbid")


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
    stop: Stop | Annotated[list[Stop], Field(max_length=4)] | None = None
    seed: Int64 | None = None
    stream: bool | None = False
    stream_options: StreamOptions | None = None
    guided: Guided | None = None
    presence_penalty: Zero | None = None
    frequency_penalty: Zero | None = None
    logit_bias: Annotated[dict[str, Any], Field(max_length=0)] | None = None
    user: str | None = None

    @property
    def stops(self) -> list[str]:
        return [self.stop] if isinstance(self.stop, str) else self.stop or []

    @property
    def answer_tokens(self) -> int | None:
        return self.max_tokens

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
        tokens = self.answer_tokens or min(default.max_new_tokens, limits.new_tokens)
        if tokens > limits.new_tokens:
            raise ApiError(400, f"an answer may have {limits.new_tokens} tokens here, not {tokens}", param="max_tokens")
        candidates = guided.n or max(default.n, self.wanted)
        if candidates > limits.candidates:
            raise ApiError(400, f"a search may have {limits.candidates} candidates here, not {candidates}", param="n")
        if candidates < self.wanted:
            raise ApiError(400, f"a search among {candidates} candidates has no {self.wanted} answers", param="guided.n")
        if guided.scorer == "value" and not generator.loaded.language_model.scores:
            raise ApiError(400, "this server has no value model", param="guided.scorer")
        most = candidates * tokens
        at_lines = bool(default.line_ends) if guided.check_at is None else guided.check_at == "lines"
        check_every = guided.check_every or default.check_every
        scorer = as_scorer(guided.scorer or default.scorer or generator.scorer_for(question))
        if guided.policy is None:
            policy = _own_policy(as_policy(default.policy), guided, scorer, None if at_lines else check_every)
        else:
            policy = _policy(guided.policy)
        asked = {
            "temperature": self.temperature,
            "top_p": self.top_p,
            "top_k": guided.top_k,
            "check_at": guided.check_at,
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


class TextPart(Strict):
    type: Literal["text"]
    text: str


class Message(BaseModel):
    """A turn of a chat. Other fields than these (names, tool calls of another model) are left out of the prompt."""

    model_config = ConfigDict(extra="ignore")
    role: Literal["system", "developer", "user", "assistant", "tool"]
    content: str | list[TextPart] | None = None

    @property
    def text(self) -> str:
        if isinstance(self.content, list):
            return "".join(part.text for part in self.content)
        return self.content or ""

    def as_dict(self) -> dict[str, str]:
        return {"role": "system" if self.role == "developer" else self.role, "content": self.text}


class TextFormat(Strict):
    type: Literal["text"]


class ChatRequest(SearchRequest):
    messages: Annotated[list[Message], Field(min_length=1)]
    max_completion_tokens: Annotated[int, Field(ge=1, lt=1 << 31)] | None = None
    logprobs: bool | None = False
    top_logprobs: Annotated[int, Field(ge=0, le=0)] | None = None
    response_format: TextFormat | None = None
    tools: Annotated[list[Any], Field(max_length=0)] | None = None
    tool_choice: Literal["none", "auto"] | None = None
    parallel_tool_calls: bool | None = None
    metadata: dict[str, Any] | None = None
    store: bool | None = None
    service_tier: str | None = None
    safety_identifier: str | None = None
    prompt_cache_key: str | None = None

    @property
    def answer_tokens(self) -> int | None:
        return self.max_completion_tokens or self.max_tokens

    def question(self) -> Chat:
        asked = [message.text for message in self.messages if message.role == "user"]
        problem = None
        if self.guided is not None and self.guided.examples and asked and asked[-1].strip():
            problem = problem_from_statement(asked[-1], "chat/problem")
        return Chat([message.as_dict() for message in self.messages], problem)


TokenIds = Annotated[list[Annotated[int, Field(ge=0, lt=1 << 31)]], Field(min_length=1)]


class CompletionRequest(SearchRequest):
    prompt: str | TokenIds
    logprobs: Annotated[int, Field(ge=0, le=0)] | None = None
    echo: Literal[False] | None = None
    suffix: None = None
    best_of: None = None

    def question(self) -> Continuation:
        return Continuation(self.prompt if isinstance(self.prompt, str) else tuple(self.prompt))


class ScoreRequest(Strict):
    """Texts to score as answers to a chat, or as what follows a prompt: one of `messages` and `prompt`."""

    model: Annotated[str, Field(max_length=500)]
    messages: Annotated[list[Message], Field(min_length=1)] | None = None
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


def _policy(text: str) -> Policy:
    policy = policy_named(text)
    if any(MOST < number < math.inf for number in asdict(policy).values()):  # type: ignore[call-overload]
        raise ApiError(400, f"a policy's numbers may be up to {MOST} here", param="guided.policy")
    return policy


def _own_policy(policy: Policy, guided: Guided, scorer: Scorer, check_every: int | None) -> Policy:
    """The server's own policy; best-of-n for a search that its fitted curve says nothing of. Raises ApiError where it is the
    client that wants the search so. `check_every` None: at lines.
    """
    curve = policy.threshold if isinstance(policy, EarlyStop) else None
    if not isinstance(curve, ThresholdCurve) or curve.fitted_every is None:
        return policy
    if scorer is not value:
        if guided.scorer is not None:
            told = f"this server's policy stops by value; name one for the scorer {guided.scorer}"
            raise ApiError(400, told, param="guided.scorer")
        return BestOfN()
    if not curve.serves(check_every):
        if guided.check_every or guided.check_at:
            told = f"this server's policy takes checks every {curve.fitted_every} tokens or a multiple; name one for other checks"
            raise ApiError(400, told, param="guided.check_at" if check_every is None else "guided.check_every")
        return BestOfN()
    return policy
