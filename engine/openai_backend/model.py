"""Another server as a language model: whole answers, token by token as they come; nothing can be forked or gone on with."""

from __future__ import annotations

import hashlib
import math
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import httpx
import numpy as np

from ..errors import BackendError, SettingsError
from ..language_model import Growth, LanguageModel, Prompt, Session
from ..models.files import ModelIdentity
from ..models.known import DEFAULT_MODEL
from ..models.loaded_model import LoadedModel
from ..sampling import Sampling
from ..tree import ROOT, Tree
from .endpoint import Endpoint
from .pieces import END, PieceTokenizer
from .stream import AnswerStream, Connection

WAIT_SECONDS = 0.2  # of a step in which nothing comes
ALIAS = "guided-gen"  # at this project's own server, whatever model is served
WHOLE_ANSWERS = "another server's answers cannot be forked or gone on with"


def load_remote(model: str, endpoint: Endpoint) -> LoadedModel:
    """The model of that name at a server; where nobody named one, and the server has one only, that one. Raises BackendError,
    SettingsError.
    """
    headers = {"Authorization": f"Bearer {endpoint.key}"} if endpoint.key else {}
    limits = httpx.Limits(max_connections=None)
    client = httpx.Client(base_url=endpoint.base_url, headers=headers, timeout=httpx.Timeout(600, connect=10), limits=limits)
    name = _served(client, model)
    tokenizer = PieceTokenizer()
    identity = ModelIdentity(name, hashlib.sha256(f"{endpoint.base_url} {name}".encode()).hexdigest())
    remote = RemoteModel(client, name, tokenizer, endpoint.max_tokens)
    return LoadedModel(remote, tokenizer, frozenset({END}), identity, "server", Path(name))  # type: ignore[arg-type]


@dataclass
class RemoteSession:
    """`answers` by random stream, with the node that each has come to."""

    tree: Tree
    body: dict[str, Any]
    seed: int
    answers: dict[int, AnswerStream] = field(default_factory=dict)
    leaves: dict[int, int] = field(default_factory=dict)


class RemoteModel(LanguageModel):
    """Draws each sample as one request. Log-probabilities are the server's, NaN where it tells none."""

    limit = "the server's context"
    max_length = 1 << 30  # the server knows, and says so
    forks = False

    def __init__(self, client: httpx.Client, name: str, tokenizer: PieceTokenizer, max_tokens: int | None = None) -> None:
        self._connection = Connection(client)
        self._tokenizer = tokenizer
        self._body: dict[str, Any] = {"model": name, "stream": True}
        if max_tokens is not None:
            self._body["max_tokens"] = max_tokens

    @property
    def vocabulary_size(self) -> int:  # type: ignore[override]
        return len(self._tokenizer)

    def open(self, prompt: Prompt, sampling: Sampling, seed: int, stop_ids: frozenset[int] = frozenset()) -> RemoteSession:
        if extras := sampling.extras + ["min_p"] * bool(sampling.min_p):
            raise SettingsError(f"another server draws its tokens itself, and is not asked for {', '.join(extras)}")
        messages = self._tokenizer.messages(prompt.token_ids)
        if messages is None:
            raise SettingsError("another server answers chats and problems: a text to go on with needs a model that runs here")
        body = self._body | {"messages": messages, "temperature": sampling.temperature, "top_p": sampling.top_p}
        if sampling.top_k:
            body["top_k"] = sampling.top_k
        return RemoteSession(Tree.below(prompt.token_ids), body, seed)

    def advance(self, growths: Sequence[Growth]) -> list[np.ndarray]:
        """Takes what has come for each sample, at most `tokens` pieces; where nothing has come for any, waits a moment. A sample
        for which nothing came stays where it is.
        """
        growing = [(growth, stream) for growth in growths for stream in growth.streams.tolist()]
        for growth in growths:
            for leaf, stream in zip(growth.leaves.tolist(), growth.streams.tolist(), strict=True):
                self._check(_session(growth.session), leaf, stream)
        answers = [_session(growth.session).answers[stream] for growth, stream in growing]
        with self._connection.news:
            if all(answer.waits for answer in answers):
                self._connection.news.wait(WAIT_SECONDS)
        return [np.asarray([self._grown(growth, stream) for stream in growth.streams.tolist()], np.int64) for growth in growths]

    def cut(self, session: Session, stream: int) -> bool:
        answer = _session(session).answers.get(stream)
        return answer is not None and answer.ended not in (None, "stop") and not answer.pending

    def keep(self, session: Session, leaves: np.ndarray) -> None:
        """Lets go of the answers that were dropped."""
        kept, remote = set(leaves.tolist()), _session(session)
        for stream, leaf in remote.leaves.items():
            if leaf not in kept and leaf != ROOT:
                remote.answers[stream].close()

    def close(self, session: Session) -> None:
        for answer in _session(session).answers.values():
            answer.close()

    def end(self) -> None:
        self._connection.client.close()

    def _check(self, session: RemoteSession, leaf: int, stream: int) -> None:
        """Begin the sample's answer if it is a new one. Raises SettingsError where it goes on from what is not its own."""
        if stream not in session.answers and leaf == ROOT:
            seed = (session.seed + 0x9E3779B1 * stream) & 0x7FFFFFFF
            session.answers[stream] = AnswerStream(self._connection, session.body | {"seed": seed})
            session.leaves[stream] = ROOT
        elif session.leaves.get(stream) != leaf:
            raise SettingsError(f"{WHOLE_ANSWERS}: this policy needs a model that runs here")

    def _grown(self, growth: Growth, stream: int) -> int:
        session = _session(growth.session)
        answer, node = session.answers[stream], session.leaves[stream]
        for text, logprob in answer.take(growth.tokens):
            node = session.tree.add_node(node, self._tokenizer.piece_id(text), logprob=logprob, sample_logprob=logprob)
        if answer.ended == "stop" and not answer.pending:
            known = node != ROOT and not math.isnan(session.tree.nodes.logprob[node])
            node = session.tree.add_node(node, END, logprob=0.0 if known else math.nan)
        session.leaves[stream] = node
        return node


def _session(session: Session) -> RemoteSession:
    assert isinstance(session, RemoteSession)
    return session


def _served(client: httpx.Client, model: str) -> str:
    """The name to ask for. Raises BackendError, SettingsError."""
    try:
        reply = client.get("models")
        names = [str(one["id"]) for one in reply.json()["data"]] if reply.is_success else []
    except httpx.HTTPError as error:
        raise BackendError(f"the server at {client.base_url} does not answer: {error}") from error
    except (ValueError, LookupError, TypeError):
        raise BackendError(f"there is no OpenAI API at {client.base_url}: does the address end in /v1?") from None
    if reply.status_code == 401:
        raise BackendError(f"the server at {client.base_url} asks for an API key: name a variable that holds it, --api-key-env")
    if reply.status_code == 404:
        raise BackendError(f"there is no OpenAI API at {client.base_url}: does the address end in /v1?")
    if not names or model in names:
        return model
    if model == DEFAULT_MODEL and ALIAS in names:
        return ALIAS
    if model != DEFAULT_MODEL or len(names) > 1:
        raise SettingsError(
            f"the server at {client.base_url} has the models {', '.join(names[:20])}: name one of them with --model"
        )
    return names[0]
