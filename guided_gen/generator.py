"""The front door: a problem's text in, the best program that the search finds out.

with GuidedGenerator.from_pretrained() as generator:
    print(generator.solve("Write a function f(x) that doubles x.\\n\\nf(2) == 4").program)
"""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import aclosing
from dataclasses import fields, replace
from functools import cached_property, partial
from pathlib import Path
from typing import Any

from .answer_text import AnswerText
from .candidate_checks import Accept
from .data_builder.problems.prompts import DEFAULT_TEMPLATE, PromptTemplate
from .engine.errors import SettingsError
from .engine.grammar import GrammarVocabulary
from .engine.models.known import DEFAULT_MODEL
from .engine.models.loaded_model import LoadedModel
from .engine.models.loading import load_model, with_reader
from .engine.models.tokenizer_loading import line_end_ids
from .engine.openai_backend.endpoint import Endpoint
from .engine.sampling import Sampling
from .engine.scorers import OF_READERS, SCORERS, Scorer, as_scorer, log_ratio, mean_logprob
from .engine.scorers import value as value_scorer
from .engine.search import SearchSettings
from .engine.vllm_backend.settings import VllmSettings
from .evidence import shipped_evidence
from .known_values import AUTO, known_value
from .notebook import NotebookBar
from .other_servers import as_endpoint, check_whole_answers
from .question import Question, QuestionLike, as_question, goes_on, problem_of
from .repair import joined, repairing
from .scheduler import Scheduler
from .scoring import ScoredText, read_text, score_text
from .solution import Solution, Solved
from .solving import Asked, Solving
from .valuemodel.early_stop import chosen_policy

PREFIX_BYTES = 256 << 20  # of the default model: 10,000 tokens
_SAMPLING = tuple(field.name for field in fields(Sampling))
_SETTINGS = tuple(field.name for field in fields(SearchSettings))


class GuidedGenerator:
    """A loaded model that solves problems. Safe to use from several threads and event loops: each step of decoding serves all
    their searches. `close`, or leaving a `with` block, ends its searches, its thread and what the backend started.
    """

    def __init__(
        self,
        loaded: LoadedModel,
        template: PromptTemplate = DEFAULT_TEMPLATE,
        prefix_bytes: int = PREFIX_BYTES,
        value: str | Path | None = None,
    ) -> None:
        """`value`: the folder that the model's values come from, for policies fitted to them. `prefix_bytes` bounds what is
        kept of prompts and best answers: a chat's next turn then reads only what is new.
        """
        self.loaded = loaded
        self.template = template
        self.value = value
        self.evidence = shipped_evidence(value, loaded.language_model.reads)
        self._line_ends: frozenset[int] | None = None
        self.scheduler = Scheduler(loaded.language_model)
        self.max_prompt_tokens: int | None = None  # where a caller allows less than the model's context
        loaded.language_model.hold_prefixes(prefix_bytes)

    @classmethod
    def from_pretrained(
        cls,
        model: str = DEFAULT_MODEL,
        *,
        precision: str = "auto",
        value: str | Path | None = AUTO,
        value_base: str | None = None,
        backend: str = "torch",
        vllm: VllmSettings | None = None,
        endpoint: Endpoint | None = None,
        reader: str | None = None,
    ) -> GuidedGenerator:
        """Load a model by name, folder, GGUF file or hub id (see `load_model`).

        `value` is the folder or the hub id of a value model for it, or auto: the one that is installed or comes with the package
        for this model in this precision, if there is one (`loaded.language_model.scores` says so). `value_base`: where a text
        scorer's base is, if not where its name says.
        `reader`: a second, larger model of the same tokens, which reads what this one writes: see `scorers.log_ratio`.
        `backend` vllm has vLLM serve it, as `vllm` says. `backend` openai asks another server for whole answers, at `endpoint`.
        """
        if backend == "openai":
            from .engine.openai_backend.model import load_remote

            return cls(load_remote(model, as_endpoint(endpoint, precision, value)))
        if value == AUTO:
            value = known_value(model, precision, backend)
        if value is None:
            loaded = load_model(model, precision, backend=backend, vllm=vllm)
            return cls(loaded if reader is None else with_reader(loaded, reader))
        from .valuemodel.attach import load_scored_model
        from .valuemodel.made_for import Prompts, local_folder

        value, template = local_folder(value), DEFAULT_TEMPLATE
        prompts = Prompts(template.name, template.hash)
        loaded = load_scored_model(model, precision, value, prompts, value_base, backend, vllm)
        return cls(loaded if reader is None else with_reader(loaded, reader), template, value=value)

    def __enter__(self) -> GuidedGenerator:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """End its searches, which then raise BackendError. Does nothing the second time."""
        self.scheduler.close()
        self.loaded.language_model.end()

    def solve(
        self, question: QuestionLike, settings: SearchSettings | None = None, *, repair: int = 0, **changes: Any
    ) -> Solution:
        """Search for an answer to a problem (its statement or a `Problem`), a chat's messages, or a `Continuation`.

        Without a scorer in `settings`, candidates are compared by what the reader finds likelier than the generator, if there is
        a reader; those for a problem by their value, if there is a value model; and all others by their mean log-probability.

        `changes` replace single fields of `settings` (n, seed, policy, ...; see `SearchSettings`) or of its sampling
        (`temperature`, `top_p`, `grammar`, ...; see `Sampling`), or are `check_at`: "tokens" or "lines"; `accept`: a function of
        an answer's text, called for each complete one on a thread of the search's own, whose number or bool joins the ranking;
        and `stop`: strings that end an answer and do not belong to it. `repair`: where the best program fails an example, the
        model is shown which, and so many corrected answers join the candidates.

        Raises SettingsError, ContextError, BackendError.
        """
        solving = self.stream(question, settings, **changes)
        solution = _watched(solving)
        turn = repairing(solving, solution, repair)
        return solution if turn is None else joined(solution, _watched(turn))

    async def asolve(
        self, question: QuestionLike, settings: SearchSettings | None = None, *, repair: int = 0, **changes: Any
    ) -> Solution:
        """`solve` for asyncio: cancelling the task ends the decoding within one step and frees its cache."""
        solving = self.stream(question, settings, **changes)
        solution = await _awaited(solving)
        turn = repairing(solving, solution, repair)
        return solution if turn is None else joined(solution, await _awaited(turn))

    def stream(
        self,
        question: QuestionLike,
        settings: SearchSettings | None = None,
        *,
        accept: Accept | None = None,
        stop: str | Sequence[str] = (),
        watch: bool = False,
        **changes: Any,
    ) -> Solving:
        """The same search as an iterator of events, the last being `Solved`; `astream` to read it by `async for`. `watch`: after
        each step also a `Grown`, with the new tokens and how every candidate stands.
        """
        asked = Asked(as_question(question), self.loaded, self.template, self.max_prompt_tokens, self.evidence)
        stops = [stop] if isinstance(stop, str) else stop
        text = AnswerText(self.loaded.tokenizer, stops, goes_on=goes_on(asked.question))
        return Solving(self.scheduler, asked, self._settings(asked.question, text, settings, changes), text, accept, watch)

    astream = stream

    def _settings(
        self, question: Question, text: AnswerText, settings: SearchSettings | None, changes: dict[str, Any]
    ) -> SearchSettings:
        """`settings` with `changes`, and where they leave it open with what the model and the question decide."""
        if settings is None:
            settings = SearchSettings()
        elif not isinstance(settings, SearchSettings):
            raise SettingsError(f"settings are a SearchSettings, not {settings!r:.80}; single ones are keywords, as in n=8")
        for name in changes:
            if name not in (*_SETTINGS, *_SAMPLING, "check_at"):
                known = ", ".join((*_SETTINGS, *_SAMPLING, "check_at", "accept", "stop"))
                raise SettingsError(f"a search has no setting {name!r}; it has {known}")
        found: dict[str, Any] = {"stop_ids": settings.stop_ids or self.loaded.stop_ids}
        found |= {name: change for name, change in changes.items() if name in _SETTINGS}
        sampling = {name: changes[name] for name in _SAMPLING if name in changes}
        if sampling:
            found["sampling"] = replace(found.get("sampling", settings.sampling), **sampling)
        if "check_at" in changes:
            found["line_ends"] = self._line_ends_at(changes["check_at"])
        if text.stops:
            found["complete"] = text.stopped
        found["scorer"] = as_scorer(found.get("scorer") or settings.scorer or self.scorer_for(question))
        if found["scorer"] in [SCORERS[name] for name in OF_READERS] and not self.loaded.language_model.reads:
            raise SettingsError("this scorer compares with what a reader finds: load one (--reader)")
        policy = found.get("policy", settings.policy)
        if not self.loaded.language_model.forks:
            check_whole_answers(policy, found["scorer"])
        if isinstance(policy, str):  # it may name a curve that was fitted to the values
            lines = found.get("line_ends", settings.line_ends)
            check_every = None if lines else found.get("check_every", settings.check_every)
            guide = "value" if found["scorer"] is value_scorer else "another"
            found["policy"] = chosen_policy(policy, [guide], self.value, check_every)
        return replace(settings, **found)

    def scorer_for(self, question: Question) -> Scorer:
        """What candidates are compared by where nobody says: value models know programming problems, not any chat."""
        if self.loaded.language_model.reads:
            return log_ratio
        known = self.loaded.language_model.scores and problem_of(question) is not None
        return value_scorer if known else mean_logprob

    def score(self, question: QuestionLike, texts: Sequence[str], max_tokens: int | None = None) -> list[ScoredText]:
        """Read texts that others wrote, of `max_tokens` at most, as answers to `question`: the log-probability of each token, and
        the value after it. Raises SettingsError, ContextError.
        """
        model, asked = self.loaded.language_model, as_question(question)
        most = self.max_prompt_tokens, max_tokens
        read = [read_text(model, self.loaded.tokenizer, self.template, asked, text, *most) for text in texts]
        running = [self.scheduler.between_steps(partial(score_text, model, text)) for text in read]
        return [future.result() for future in running]

    @cached_property
    def grammars(self) -> GrammarVocabulary:
        """Makes grammars for the sampling's `grammar`, as in `solve(chat, grammar=generator.grammars.json(schema))`. Raises
        SettingsError for another server's answers.
        """
        loaded = self.loaded
        if not loaded.language_model.forks:
            raise SettingsError("another server draws its tokens itself, and is not asked for a schema (response_format)")
        return GrammarVocabulary(loaded.tokenizer.backend_tokenizer, loaded.stop_ids, loaded.language_model.vocabulary_size)

    def line_ends(self) -> frozenset[int]:
        """Ids of the tokens that end a line, for `SearchSettings.line_ends`."""
        if self._line_ends is None:
            self._line_ends = line_end_ids(self.loaded.tokenizer)
        return self._line_ends

    def _line_ends_at(self, check_at: str) -> frozenset[int]:
        if check_at not in ("tokens", "lines"):
            raise SettingsError(f"a policy is asked at tokens or at lines, not at {check_at!r}")
        if check_at == "lines" and not self.loaded.language_model.forks:
            raise SettingsError("where lines end is known of a model's own tokens, not of another server's: check at tokens")
        return self.line_ends() if check_at == "lines" else frozenset()


def _watched(solving: Solving) -> Solution:
    bar = NotebookBar(solving.settings.n)
    for event in solving:
        bar.show(event)
        if isinstance(event, Solved):
            return event.solution
    raise AssertionError("a stream ends with Solved")


async def _awaited(solving: Solving) -> Solution:
    bar = NotebookBar(solving.settings.n)
    async with aclosing(solving.__aiter__()) as events:
        async for event in events:
            bar.show(event)
            if isinstance(event, Solved):
                return event.solution
    raise AssertionError("a stream ends with Solved")
