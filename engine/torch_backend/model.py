"""The torch backend: any decoder-only transformers model, with the KV cache as a tree.

A step runs the model's own layers, one after the other, on packed tokens [1, rows]: the rows are the leaves of any number of
searches. Only attention is ours (kv_cache.py). A value tail forks off the same pass. Logits are computed, and reduced to what
can be drawn, once a leaf; all samples at a leaf draw from that one row.
"""

from __future__ import annotations

import time
from bisect import bisect_right
from collections.abc import Sequence
from typing import Any, cast

import numpy as np
import torch
from torch import nn

from ..cpu.model import CpuModel
from ..errors import ContextError, SettingsError
from ..language_model import Growth, LanguageModel, Prompt, Statistics
from ..language_model import Session as AnySession
from ..models.context import longest_text, original_context
from ..models.rope import Rotary, frequencies
from ..randomness import problem_key, uniforms
from ..sampling import Distributions, Sampling, distributions
from ..shaping import Shaping
from ..tail import EmittedSums, Tail, set_values
from ..tree import ROOT, Tree
from .kv_cache import DecodeLayout, PrefillLayout, PromptCache, SlotPool
from .prefix_store import ContinuedLayout, PrefixStore

_NO_SLOT = -1
LOGIT_ROWS = 64  # whose logits are held at once where a given answer is read
_PASS_CELLS = 1 << 18  # of a pass: rows times the longest path; what attention may gather in each layer


class TorchSession:
    """One prompt's tree, its cached prompt, and for each node the slot of its keys and values (or none)."""

    def __init__(self, tree: Tree, prompt: PromptCache, sampling: Sampling, seed: int, head_width: int) -> None:
        self.tree = tree
        self.prompt = prompt
        self.sampling = sampling
        self.seed = seed
        self.problem = problem_key(tree.prompt_hash)
        self.slots: list[int] = []
        self.paths: dict[int, np.ndarray] = {ROOT: np.empty(0, np.int64)}  # slots from the first token on, at the leaves
        self.next: dict[int, tuple[Distributions, int]] = {}  # what can be drawn below a node, where it is known
        self.sums = EmittedSums(head_width)
        self.shaping = Shaping(sampling, tree) if sampling.shapes else None

    def slot(self, node: int) -> int:
        self.slots.extend([_NO_SLOT] * (len(self.tree) - len(self.slots)))
        return self.slots[node]


class TorchLanguageModel(LanguageModel):
    """A causal language model of transformers and, optionally, a value tail on it. Not thread-safe: one thread decodes.

    `model` is a `CpuModel` or any `*ForCausalLM` whose decoder layers attend through transformers' attention interface.
    """

    def __init__(self, model: Any, tail: Tail | None = None) -> None:
        self._model = model.eval()
        config = model.config
        self._decoder = model.get_decoder()
        if not isinstance(model, CpuModel):
            from .tree_attention import NAME, attending

            for module in attending(self._decoder):
                module.config._attn_implementation = NAME
        self.device = next(model.parameters()).device
        self._tail = tail
        self.scores = tail is not None
        self._passes = 0
        self._scoring_seconds = 0.0
        self._layers = config.num_hidden_layers
        self.vocabulary_size = config.vocab_size
        self.max_length, self.limit = longest_text(config, scored=tail is not None)
        head_dim = getattr(config, "head_dim", None) or config.hidden_size // config.num_attention_heads
        self._rotary = self._decoder.rotary_emb
        self._original_context = original_context(config)
        if self._original_context is not None:  # transformers' own would choose by the longest text of a batch
            found = frequencies(config.rope_parameters, head_dim, config.max_position_embeddings)
            self._rotary = Rotary(found).to(self.device)
        for i, layer in enumerate(tail.layers if tail else ()):
            layer.self_attn.layer_idx = self._layers + i  # type: ignore[union-attr,assignment]
        dtype = self._decoder.norm.weight.dtype
        own = torch.float16 if isinstance(model, CpuModel) else dtype
        self._cached = [own] * self._layers + [dtype] * len(tail.layers if tail else ())
        self._pool = SlotPool(self._cached, config.num_key_value_heads, head_dim, self.device)
        self.prefixes = PrefixStore()

    @property
    def statistics(self) -> Statistics:
        return Statistics(self._passes, self._scoring_seconds, self._pool.used, self.prefixes.bytes)

    @torch.inference_mode()
    def open(self, prompt: Prompt, sampling: Sampling, seed: int, stop_ids: frozenset[int] = frozenset()) -> TorchSession:
        """Prefill a prompt, as far as it is not held. Raises ContextError where it leaves no room for an answer."""
        if any(not 0 <= token < self.vocabulary_size for token, _ in sampling.bias):
            raise SettingsError(f"a biased token is not in this model's vocabulary of {self.vocabulary_size}")
        cached, state = self._read_prompt(prompt.token_ids, prompt.room)
        width = self._tail.head.width if self._tail else 0
        session = TorchSession(Tree.below(prompt.token_ids), cached, sampling, seed, width)
        self._remember([(session, ROOT)], state)
        return session

    def hold_prefixes(self, max_bytes: int) -> None:
        self.prefixes = PrefixStore(max_bytes)

    @torch.inference_mode()
    def hold(self, session: AnySession, leaf: int) -> None:
        session = cast(TorchSession, session)
        cached = [node for node in session.tree.path(leaf).tolist() if session.slot(node) != _NO_SLOT]
        if not cached or not self.prefixes.max_bytes:
            return
        slots = torch.tensor([session.slots[node] for node in cached], device=self.device)
        token_ids = [*session.prompt.token_ids, *session.tree.nodes.token_id[cached].tolist()]
        longer = PromptCache(token_ids, self._cached, session.prompt.is_long)
        longer.states = session.prompt.states
        for layer in range(len(self._cached)):
            answer = self._pool[layer].index_select(0, slots).permute(1, 2, 0, 3)  # [2, kv_heads, tokens, head_dim]
            keys, values = session.prompt.keys[layer], session.prompt.values[layer]
            longer.keep(layer, torch.cat([keys, answer[0]], dim=1), torch.cat([values, answer[1]], dim=1))
        self.prefixes.add(longer)

    @torch.inference_mode()
    def logprobs(self, prompt_ids: Sequence[int], token_ids: Sequence[int]) -> np.ndarray:
        """Log-probabilities [T] of the T tokens of a given answer, read in one pass. Raises ContextError."""
        if len(prompt_ids) + len(token_ids) > self.max_length:
            raise ContextError(
                f"the prompt has {len(prompt_ids)} tokens and the answer {len(token_ids)}; {self.limit} holds {self.max_length}"
            )
        prompt, state = self._read_prompt(prompt_ids, len(token_ids))
        read = list(token_ids[:-1])
        if read:
            whole = PromptCache([*prompt.token_ids, *read], self._cached, prompt.is_long)
            positions = torch.arange(len(prompt), len(whole))
            layout = ContinuedLayout(whole, prompt, self.device)
            hidden, _ = self._run(torch.tensor(read), positions, layout, torch.full((len(read),), prompt.is_long))
            state = torch.cat([state, hidden])
        tokens = torch.tensor(list(token_ids), device=self.device)[:, None]
        parts = [slice(start, start + LOGIT_ROWS) for start in range(0, len(tokens), LOGIT_ROWS)]
        found = [torch.log_softmax(self._logits(state[part]).float(), dim=-1).gather(1, tokens[part])[:, 0] for part in parts]
        return torch.cat(found).cpu().numpy()

    def advance(self, growths: Sequence[Growth]) -> list[np.ndarray]:
        """Draw one token for every sample; see `LanguageModel.advance`."""
        self._look_ahead([(cast(TorchSession, growth.session), np.unique(growth.leaves)) for growth in growths])
        return [self._draw(cast(TorchSession, growth.session), growth.leaves, growth.streams) for growth in growths]

    def read(self, wanted: Sequence[tuple[AnySession, np.ndarray]]) -> None:
        """Fill the values at the wanted nodes. What it computes is kept for the next `advance`."""
        if self.scores:
            unscored = [(s, nodes[np.isnan(s.tree.nodes.value[nodes])]) for s, nodes in wanted]
            self._look_ahead([(cast(TorchSession, session), np.unique(nodes)) for session, nodes in unscored])

    def keep(self, session: AnySession, leaves: np.ndarray) -> None:
        session = cast(TorchSession, session)
        wanted = {ROOT}
        parent = session.tree.nodes.parent
        for leaf in np.unique(leaves).tolist():
            while leaf not in wanted:
                wanted.add(leaf)
                leaf = int(parent[leaf])
        dropped = [node for node, slot in enumerate(session.slots) if slot != _NO_SLOT and node not in wanted]
        self._free(session, dropped)
        for node in [node for node in session.next if node not in wanted]:
            del session.next[node]
        if session.shaping is not None:
            session.shaping.keep(set(leaves.tolist()))

    def close(self, session: AnySession) -> None:
        self.keep(session, np.empty(0, np.int64))
        cast(TorchSession, session).next.clear()

    # -- one step

    def _read_prompt(self, prompt_ids: Sequence[int], room: int) -> tuple[PromptCache, torch.Tensor]:
        """The prompt's cache and the state [1, H] at its last token. At most `room` tokens will follow it."""
        count = len(prompt_ids)
        if not count:
            raise ContextError("the prompt is empty")
        if count >= self.max_length:
            raise ContextError(f"the prompt has {count} tokens; {self.limit} holds {self.max_length}")
        is_long = self._original_context is not None and count + room > self._original_context
        held, known = self.prefixes.longest(prompt_ids, is_long)
        if held is not None and known == count and count in held.states:
            return held.first(count), held.states[count]
        prompt = PromptCache(prompt_ids, self._cached, is_long)
        known = min(known, count - 1)
        layout: PrefillLayout | ContinuedLayout = PrefillLayout(prompt)
        if held is not None and known:
            prefix = held.first(known)
            layout = ContinuedLayout(prompt, prefix, self.device)
            prompt.states |= prefix.states
        read = torch.tensor(prompt.token_ids[known:])
        hidden, _ = self._run(read, torch.arange(known, count), layout, torch.full((len(read),), is_long))
        prompt.states[count] = hidden[-1:].clone()
        self.prefixes.add(prompt)
        return prompt, prompt.states[count]

    def _draw(self, session: TorchSession, leaves: np.ndarray, streams: np.ndarray) -> np.ndarray:
        tree = session.tree
        positions = np.asarray([tree.depth_of(leaf) for leaf in leaves.tolist()])
        draws = uniforms(session.seed, session.problem, streams, positions)
        children = np.empty(len(leaves), np.int64)
        for i, (leaf, uniform) in enumerate(zip(leaves.tolist(), draws.tolist(), strict=True)):
            dist, row = session.next[leaf]
            if dist.alternatives is not None:
                tree.alternatives[leaf] = dist.alternatives[0][row], dist.alternatives[1][row]
            column = dist.draw(row, uniform)
            token = int(dist.tokens[row, column])
            node = tree.child(leaf, token)
            if node is None:
                node = tree.add_node(
                    leaf,
                    token,
                    logprob=dist.logprob[row, column],
                    sample_logprob=dist.sample_logprob[row, column],
                    entropy=dist.entropy[row],
                    margin=dist.margin[row],
                    certainty=dist.certainty[row],
                )
            children[i] = node
        for leaf in set(leaves.tolist()) - {ROOT}:
            session.next.pop(leaf)
        return children

    def _look_ahead(self, wanted: Sequence[tuple[TorchSession, np.ndarray]]) -> None:
        """Run the model on the nodes whose next distribution is not known, and on those above them that hold no slot."""
        missing: list[tuple[int, TorchSession, int]] = []
        for session, nodes in wanted:
            seen = set()
            for node in nodes.tolist():
                unknown = node not in session.next
                while node != ROOT and node not in seen and (unknown or session.slot(node) == _NO_SLOT):
                    missing.append((session.tree.depth_of(node), session, node))
                    seen.add(node)
                    unknown = False
                    node = int(session.tree.nodes.parent[node])
        # Parents first: a pass writes the keys and values of all its rows before any row reads its path.
        missing.sort(key=lambda entry: entry[0])
        while missing:
            count = bisect_right(range(1, len(missing) + 1), _PASS_CELLS, key=lambda rows: rows * missing[rows - 1][0])
            self._forward([(session, node) for _, session, node in missing[: max(count, 1)]])
            missing = missing[max(count, 1) :]

    @torch.inference_mode()
    def _forward(self, rows: list[tuple[TorchSession, int]]) -> None:
        """One pass over `rows`, each a node whose parent is cached or stands before it: caches it, scores it, and finds what can
        be drawn below it.
        """
        order: dict[int, int] = {}
        for session, _ in rows:
            order.setdefault(id(session), len(order))
        rows.sort(key=lambda row: order[id(row[0])])
        new = [row for row in rows if row[0].slot(row[1]) == _NO_SLOT]
        for (session, node), slot in zip(new, self._pool.allocate(len(new)), strict=True):
            session.slots[node] = slot
        try:
            hidden, emitted = self._compute(rows)
        except BaseException:  # nothing can be read in the new slots
            for session, node in new:
                self._free(session, [node])
            raise
        if self._tail is not None:
            start = time.perf_counter()
            scored = [(session.tree, session.sums, node) for session, node in rows]
            set_values(self._tail.head, scored, emitted.double().cpu().numpy(), self.device)
            self._scoring_seconds += time.perf_counter() - start
        self._remember(rows, hidden)

    def _compute(self, rows: list[tuple[TorchSession, int]]) -> tuple[torch.Tensor, Any]:
        """One pass over `rows`, which have slots -> as `_run`."""
        groups: list[tuple[PromptCache, int]] = []
        paths = []
        for session, node in rows:
            paths.append(self._path(session, node))
            if groups and groups[-1][0] is session.prompt:
                groups[-1] = (session.prompt, groups[-1][1] + 1)
            else:
                groups.append((session.prompt, 1))
        lengths = np.asarray([len(path) for path in paths])
        for session, node in rows:  # paths are kept at the leaves only
            parent = int(session.tree.nodes.parent[node])
            if parent != ROOT:
                session.paths.pop(parent, None)
        padded = np.zeros((len(rows), lengths.max()), np.int64)
        for i, path in enumerate(paths):
            padded[i, : len(path)] = path
        own = padded[np.arange(len(rows)), lengths - 1]
        layout = DecodeLayout(
            self._pool,
            groups,
            *(torch.from_numpy(array).to(self.device) for array in (own, padded, lengths)),
        )
        tokens = np.asarray([session.tree.nodes.token_id[node] for session, node in rows], np.int64)
        positions = lengths - 1 + np.asarray([len(session.prompt) for session, _ in rows])
        is_long = np.asarray([session.prompt.is_long for session, _ in rows])
        if positions.max() >= self.max_length:
            raise ContextError(f"the prompt and the answer together are longer than {self.limit} of {self.max_length} tokens")
        if self._original_context is not None and (positions[~is_long] >= self._original_context).any():
            raise ContextError(f"LongRoPE reads this text as one of up to {self._original_context} tokens, and it goes on")
        return self._run(torch.from_numpy(tokens), torch.from_numpy(positions), layout, torch.from_numpy(is_long))

    def _free(self, session: TorchSession, nodes: list[int]) -> None:
        self._pool.free([session.slots[node] for node in nodes])
        for node in nodes:
            session.slots[node] = _NO_SLOT
            session.paths.pop(node, None)

    def _path(self, session: TorchSession, node: int) -> np.ndarray:
        """The slots on the path to `node`, its own last. The node's own was just allocated or is written again."""
        path = session.paths.get(node)
        if path is None:
            above = session.paths.get(int(session.tree.nodes.parent[node]))
            if above is None:
                path = np.asarray([session.slots[n] for n in session.tree.path(node).tolist()], np.int64)
            else:
                path = np.append(above, session.slots[node])
            session.paths[node] = path
        return path

    def _run(
        self,
        tokens: torch.Tensor,
        positions: torch.Tensor,
        layout: PrefillLayout | ContinuedLayout | DecodeLayout,
        is_long: torch.Tensor,
    ) -> tuple[torch.Tensor, Any]:
        """tokens [T], positions [T], of long texts or not [T] -> the state below the LM head [T, H] and what the tail emitted
        [T, E] (or None).
        """
        self._passes += 1
        position_ids = positions[None].to(self.device)
        hidden = self._decoder.embed_tokens(tokens[None].to(self.device))
        if isinstance(self._rotary, Rotary):
            rotary = self._rotary(hidden, position_ids, is_long.to(self.device))
        else:
            rotary = self._rotary(hidden, position_ids)
        tail = self._tail
        emitted = None
        for i, layer in enumerate(self._decoder.layers):
            if tail is not None and i == tail.fork_layer:
                emitted = self._run_tail(tail, hidden, rotary, position_ids, layout)
            hidden = self._layer(layer, hidden, rotary, position_ids, layout)
        if tail is not None and tail.fork_layer == self._layers:
            emitted = self._run_tail(tail, hidden, rotary, position_ids, layout)
        return self._decoder.norm(hidden)[0], emitted

    def _run_tail(self, tail: Tail, hidden: torch.Tensor, rotary: Any, position_ids: torch.Tensor, layout: Any) -> torch.Tensor:
        start = time.perf_counter()
        for layer in tail.layers:
            hidden = self._layer(layer, hidden, rotary, position_ids, layout)
        emitted = tail.head.emit(tail.norm(hidden)[0])
        self._scoring_seconds += time.perf_counter() - start
        return emitted

    @staticmethod
    def _layer(layer: nn.Module, hidden: torch.Tensor, rotary: Any, position_ids: torch.Tensor, layout: Any) -> torch.Tensor:
        out: torch.Tensor = layer(
            hidden,
            attention_mask=None,
            position_ids=position_ids,
            past_key_values=None,
            use_cache=False,
            position_embeddings=rotary,
            layout=layout,
        )
        return out

    def _logits(self, hidden: torch.Tensor) -> torch.Tensor:
        logits: torch.Tensor = self._model.lm_head(hidden)
        return logits

    def _remember(self, rows: list[tuple[TorchSession, int]], hidden: torch.Tensor) -> None:
        """Keep, for each of `rows`, what can be drawn below it."""
        logits = self._logits(hidden)
        by_setting: dict[Sampling, list[int]] = {}
        for i, (session, _) in enumerate(rows):
            by_setting.setdefault(session.sampling, []).append(i)
        for sampling, indices in by_setting.items():
            chosen = logits if len(indices) == len(rows) else logits[indices]
            shaped = self._shaped(chosen, [rows[i] for i in indices]) if sampling.shapes else None
            dist = distributions(chosen, sampling, shaped)
            for row, i in enumerate(indices):
                session, node = rows[i]
                session.next[node] = dist, row

    @staticmethod
    def _shaped(logits: torch.Tensor, rows: list[tuple[TorchSession, int]]) -> torch.Tensor:
        shaped = logits.to(torch.float32, copy=True)
        for row, (session, node) in zip(shaped, rows, strict=True):
            assert session.shaping is not None
            session.shaping.apply_(row, node)
        return shaped
