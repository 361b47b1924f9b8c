"""How long an answer may be: what the model's context and the server's limits leave, known before any work."""

from __future__ import annotations

from ..generator import GuidedGenerator
from ..question import Question, question_prompt
from .errors import ApiError
from .limits import ServerLimits


def answer_room(generator: GuidedGenerator, question: Question, limits: ServerLimits, asked: int | None, default: int) -> int:
    """Tokens that an answer may have: those that were `asked` for, or as many of the server's `default` as fit. Raises ApiError
    as OpenAI does where prompt and answer do not fit the context.
    """
    model = generator.loaded.language_model
    prompt = question_prompt(model, generator.loaded.tokenizer, question, generator.template)
    size = len(prompt.token_ids)
    if size > limits.prompt_tokens:
        told = f"a prompt may have {limits.prompt_tokens} tokens here, and this one has {size}"
        raise ApiError(400, told, param="messages", code="context_length_exceeded")
    left = model.max_length - size
    if (asked or 1) > left:
        told = (
            f"This model's maximum context length is {model.max_length} tokens. However, you requested {size + (asked or 1)} "
            f"tokens ({size} in the messages, {asked or 1} in the completion). Please reduce the length of either."
        )
        raise ApiError(400, told, param="messages", code="context_length_exceeded")
    return asked or min(default, limits.new_tokens, left)
