"""The search: one loop, many policies. Grow the live leaves, score them, and now and then ask the policy.

Several searches advance in one batch: `run` takes any number, and `advance_round` is one step of all of them, for callers that
show progress, stream, or add and drop searches between steps. The loop knows no policy, no scorer and no backend by name.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace

import numpy as np

from .errors import SettingsError
from .language_model import Growth, LanguageModel, Prompt, Session
from .policies import BestOfN, View
from .policy_names import PolicyLike, as_policy
from .randomness import path_keys, problem_key, uniforms
from .sampling import Sampling
from .scorers import ScorerLike, as_scorer, mean_logprob, value
from .tree import ROOT, Ended, Tree


@dataclass(frozen=True)
class SearchSettings:
    """What does not change during a search.

    `n` samples of at most `max_new_tokens`; the policy is asked every `check_every` tokens, or, if `line_ends` holds the ids of
    tokens that end a line, whenever all live candidates have reached the end of a line. `budget` bounds the decoded tokens, all
    candidates together; a token that several samples share counts once. `stop_ids` end an answer, and so does a node for which
    `complete` is true: it is asked after every step, at the live leaves. Without a `scorer`, candidates are compared by their
    value, or by their mean log-probability where the model has no value model. Where it is known how likely complete answers are
    to be correct (a problem's, which are run), the search ends once one is as likely as `enough`. While none is, it goes on with
    fresh candidates, n together, up to `most` (None: n), as far as the budget allows; without a budget only while all fail an
    example.
    """

    n: int = 8
    max_new_tokens: int = 512
    sampling: Sampling = field(default_factory=Sampling)
    policy: PolicyLike = field(default_factory=BestOfN)
    scorer: ScorerLike | None = None
    check_every: int = 16
    line_ends: frozenset[int] = frozenset()
    budget: int | None = None
    seed: int = 0
    stop_ids: frozenset[int] = frozenset()
    complete: Callable[[Tree, int], bool] | None = None
    enough: float = 0.95
    most: int | None = None

    def __post_init__(self) -> None:
        for name in ("n", "max_new_tokens", "check_every", "budget", "seed", "most"):
            number = getattr(self, name)
            if not isinstance(number, int) and not (name in ("budget", "most") and number is None):
                raise SettingsError(f"{name} is a whole number, not {number!r:.80}")
        if self.n < 1:
            raise SettingsError(f"the number of candidates must be at least 1, not {self.n}")
        if self.max_new_tokens < 1:
            raise SettingsError(f"an answer must be allowed at least 1 token, not {self.max_new_tokens}")
        if self.check_every < 1:
            raise SettingsError(f"a check is made every 1 or more tokens, not every {self.check_every}")
        if self.most is not None and self.most < self.n:
            raise SettingsError(f"a search of {self.n} candidates goes on to at least as many, not {self.most}")
        if self.budget is not None and self.budget < 1:
            raise SettingsError(f"the budget must be at least 1 token, not {self.budget}")
        if not isinstance(self.enough, int | float) or not self.enough > 0:
            raise SettingsError(f"enough is a probability above 0, not {self.enough!r:.80}")
        if not isinstance(self.sampling, Sampling):
            raise SettingsError(f"sampling is a Sampling(temperature, top_p, top_k), not {self.sampling!r:.80}")
        as_policy(self.policy)
        if self.scorer is not None:
            as_scorer(self.scorer)


@dataclass
class _Sample:
    leaf: int
    fork: int
    stream: int
    ended: Ended = Ended.LIVE
    waits: bool = False  # at the end of a line, for the others


class Search:
    """One search in progress: a tree that grows in a session. Drive it with `run` or `advance_round`."""

    def __init__(
        self,
        model: LanguageModel,
        below: Prompt | Session,
        settings: SearchSettings,
        *,
        starts: Sequence[int] = (),
        first_stream: int = 0,
    ) -> None:
        """Open a session below a prompt, or go on in an open one.

        `starts` are the nodes (by default the root, n times) from which its samples begin, with random streams from
        `first_stream` on.
        """
        self.settings = settings
        self.policy = as_policy(settings.policy)
        self._scorer = as_scorer(settings.scorer or (value if model.scores else mean_logprob))
        if isinstance(below, Prompt):
            below = replace(below, room=settings.max_new_tokens)
            below = model.open(below, settings.sampling, settings.seed, settings.stop_ids)
        self.session, self._cut = below, model.cut
        self.tree: Tree = self.session.tree
        begin = list(starts) or [ROOT] * settings.n
        self._population = len(begin)
        self._samples = [_Sample(node, node, first_stream + i) for i, node in enumerate(begin)]
        self._next_stream = first_stream + len(begin)
        self._first_node = len(self.tree)
        self._since_check = 0
        self._over = False  # the policy begins no further candidates
        self._stopped = False
        self.likely: Mapping[int, float] = {}  # by finished node, where somebody knows better than the scorer
        self.further: Callable[[], int | None] | None = None  # see `advance_round`
        self._keys: list[int] = []
        self._problem = problem_key(self.tree.prompt_hash)
        self.rollouts: list[int] = []  # rows of the tree's rollouts, once done

    @property
    def live(self) -> list[_Sample]:
        return [sample for sample in self._samples if sample.ended == Ended.LIVE]

    def leaves(self, *ended: Ended) -> set[int]:
        """Nodes (or the root) at which samples stand that ended so."""
        return {sample.leaf for sample in self._samples if sample.ended in ended}

    def samples(self, *ended: Ended) -> Counter[int]:
        """How many samples that ended so stand at each node."""
        return Counter(sample.leaf for sample in self._samples if sample.ended in ended)

    @property
    def samples_begun(self) -> Sequence[_Sample]:
        """All samples in the order in which they began."""
        return self._samples

    @property
    def begun(self) -> int:
        """Samples begun so far, whatever became of them."""
        return len(self._samples)

    def finished_leaves(self) -> set[int]:
        """Nodes at which a sample is complete."""
        return self.leaves(Ended.EOS)

    def finished_count(self) -> int:
        return sum(sample.ended == Ended.EOS for sample in self._samples)

    @property
    def done(self) -> bool:
        return bool(self.rollouts)

    @property
    def decoded_tokens(self) -> int:
        """Tokens decoded by this search; shared ones count once."""
        return len(self.tree) - self._first_node

    @property
    def tokens_left(self) -> int | None:
        return None if self.settings.budget is None else max(self.settings.budget - self.decoded_tokens, 0)

    def scores(self) -> np.ndarray:
        """The scorer's view of the tree, shape [nodes]."""
        return self._scorer(self.tree)

    def stop(self) -> None:
        """End all live candidates where they are, and begin no others."""
        self._over = self._stopped = True
        for sample in self.live:
            sample.ended = Ended.STOPPED

    # -- the parts of a round, in order

    def _check_due(self) -> bool:
        live = self.live
        if not live:
            return self.policy.revisits and not self._over and self.tokens_left != 0
        if self.settings.line_ends:
            return all(sample.waits for sample in live)
        return self._since_check >= self.settings.check_every

    def _check(self) -> None:
        view = self.view()
        children = np.asarray(self.policy(view))
        if children.shape != view.live.shape or (children < 0).any():
            raise ValueError("a policy returns one number of children, 0 or more, for each node and the root")
        if (children[view.finished > 0] > view.live[view.finished > 0]).any():
            raise ValueError("a policy grows a finished candidate")
        self._since_check = 0
        held: dict[int, list[_Sample]] = {}
        for sample in self.live:
            sample.waits = False
            held.setdefault(sample.leaf, []).append(sample)
        for leaf, samples in held.items():
            for sample in samples[children[leaf] :]:
                sample.ended = self.policy.reason
        for index in np.flatnonzero(children > view.live).tolist():
            node = ROOT if index == len(children) - 1 else index
            for _ in range(int(children[index] - view.live[index])):
                self._samples.append(_Sample(node, node, self._next_stream))
                self._next_stream += 1
        self._over = not self.live

    def _going_or_complete(self) -> np.ndarray:
        """The leaves of the samples that were not dropped."""
        leaves = [sample.leaf for sample in self._samples if sample.ended <= Ended.LENGTH and sample.leaf != ROOT]
        return np.asarray(leaves, np.int64)

    def view(self) -> View:
        """What a policy sees now."""
        tree, size = self.tree, len(self.tree)
        live, finished, dropped = (np.zeros(size + 1, np.int64) for _ in range(3))
        for sample in self._samples:
            if sample.ended == Ended.LIVE:
                live[sample.leaf] += 1
            elif sample.ended in (Ended.EOS, Ended.LENGTH):
                finished[sample.leaf] += 1
            else:
                dropped[sample.leaf] += 1
        values = np.append(self.scores(), np.nan)
        for leaf, likely in self.likely.items():
            values[leaf] = likely
        path_keys(tree.nodes.parent.tolist(), tree.nodes.token_id.tolist(), self._keys)
        keys = np.asarray([*self._keys, 0], np.uint64)
        return View(
            parent=np.append(tree.nodes.parent, ROOT),
            depth=np.append(tree.depth, 0),
            logprob=np.append(tree.nodes.logprob, 0.0),
            sample_logprob=np.append(tree.nodes.sample_logprob, 0.0),
            value=values,
            live=live,
            finished=finished,
            dropped=dropped,
            tie=uniforms(self.settings.seed, self._problem, keys, np.zeros(len(keys), np.uint64)),
            population=self._population,
            tokens_left=self.tokens_left,
            rng=np.random.default_rng([self.settings.seed & 0xFFFFFFFFFFFFFFFF, self._problem, size]),
        )

    def _spare_budget(self) -> None:
        """Stop the least promising candidates where the budget does not allow all of them one more token."""
        left = self.tokens_left
        moving = [sample for sample in self.live if not sample.waits]
        if left is None or len(moving) <= left:
            return
        scores = np.append(np.nan_to_num(self.scores(), nan=-np.inf), -np.inf)
        moving.sort(key=lambda sample: (-scores[sample.leaf], sample.stream))
        for sample in moving[left:]:
            sample.ended = Ended.STOPPED

    def _growth(self) -> Growth | None:
        moving = [sample for sample in self.live if not sample.waits]
        if not moving:
            return None
        leaves = np.asarray([sample.leaf for sample in moving])
        each_token = self.settings.line_ends or self.settings.complete is not None
        block = 1 if each_token else self.settings.check_every - self._since_check
        return Growth(self.session, leaves, np.asarray([sample.stream for sample in moving]), self._block(leaves, block))

    def _block(self, leaves: np.ndarray, most: int) -> int:
        deepest = max(self.tree.depth_of(leaf) for leaf in leaves.tolist())
        block = min(most, self.settings.max_new_tokens - deepest)
        left = self.tokens_left
        return max(block if left is None else min(block, left // len(leaves)), 1)

    def _absorb(self, leaves: np.ndarray) -> None:
        moving = [sample for sample in self.live if not sample.waits]
        most = 0
        tokens, complete = self.tree.nodes.token_id, self.settings.complete
        for sample, leaf in zip(moving, leaves.tolist(), strict=True):
            most = max(most, self.tree.depth_of(leaf) - self.tree.depth_of(sample.leaf))
            moved, sample.leaf = leaf != sample.leaf, leaf
            if moved and (int(tokens[leaf]) in self.settings.stop_ids or (complete is not None and complete(self.tree, leaf))):
                sample.ended = Ended.EOS
            elif self.tree.depth_of(leaf) >= self.settings.max_new_tokens or self._cut(self.session, sample.stream):
                sample.ended = Ended.LENGTH
            elif moved and int(tokens[leaf]) in self.settings.line_ends:
                sample.waits = True
        self._since_check += most

    def _begins_further(self) -> bool:
        """Whether it goes on, or may, once all its candidates have ended."""
        fresh = 0 if self._stopped or self.further is None or self.tokens_left == 0 else self.further()
        if fresh:
            self._samples += [_Sample(ROOT, ROOT, self._next_stream + i) for i in range(fresh)]
            self._next_stream += fresh
            self._since_check, self._over = 0, False
        return fresh is None or fresh > 0

    def _finish(self) -> None:
        for sample in self._samples:
            row = self.tree.add_rollout(sample.leaf, sample.fork, sample.ended, sample.stream)
            if row not in self.rollouts:
                self.rollouts.append(row)


def advance_round(model: LanguageModel, searches: Iterable[Search]) -> None:
    """One step of all searches that are not done, in one batch; a search whose last candidate ends is scored and done.

    Unless its `further` says otherwise: how many fresh candidates it is to go on with, None while that is not known.
    """
    active = [search for search in searches if not search.done]
    due = [search for search in active if search._check_due()]
    model.read([(search.session, search._going_or_complete()) for search in due])
    for search in due:
        search._check()
        # Policies may return to what is freed here; it is read anew then.
        model.keep(search.session, search._going_or_complete())
    for search in active:
        search._spare_budget()
    growing = [(search, growth) for search in active if (growth := search._growth()) is not None]
    for (search, _), leaves in zip(growing, model.advance([growth for _, growth in growing]), strict=True):
        search._absorb(leaves)
    ending = [search for search in active if not search.live and not search._check_due() and not search._begins_further()]
    if ending:
        leaves_of = [np.asarray([s.leaf for s in search._samples if s.leaf != ROOT], np.int64) for search in ending]
        model.read(list(zip([search.session for search in ending], leaves_of, strict=True)))
        for search in ending:
            search._finish()


def run(model: LanguageModel, searches: Sequence[Search]) -> None:
    """Advance all searches, in one batch, until each is done."""
    while not all(search.done for search in searches):
        advance_round(model, searches)
