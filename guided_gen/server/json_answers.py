"""`response_format`: answers that are JSON, or JSON of a schema, alone or beside calls of tools."""

from __future__ import annotations

from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field

from ..engine.errors import SettingsError
from ..engine.grammar import JSON_OBJECT, Grammar, GrammarVocabulary
from .errors import ApiError
from .tools import Toolbox, ToolName


class TextFormat(BaseModel):
    model_config = ConfigDict(extra="forbid")
    type: Literal["text"]


class JsonObject(BaseModel):
    model_config = ConfigDict(extra="forbid")
    type: Literal["json_object"]


class NamedSchema(BaseModel):
    """Answers are held to the schema whether it is `strict` or not."""

    model_config = ConfigDict(extra="forbid")
    name: ToolName
    description: str | None = None
    schema_: Annotated[dict[str, Any] | None, Field(alias="schema")] = None
    strict: bool | None = None


class JsonSchema(BaseModel):
    model_config = ConfigDict(extra="forbid")
    type: Literal["json_schema"]
    json_schema: NamedSchema


ResponseFormat = Annotated[TextFormat | JsonObject | JsonSchema, Field(discriminator="type")]


def answer_grammar(
    vocabulary: GrammarVocabulary, wanted: TextFormat | JsonObject | JsonSchema | None, toolbox: Toolbox | None
) -> Grammar | None:
    """What answers must be; None where they may be anything. Raises ApiError where a schema cannot be held."""
    param = "response_format"
    try:
        if toolbox is not None and toolbox.required:
            param = "tools"
            return vocabulary.one_of(toolbox.forms)
        if wanted is None or isinstance(wanted, TextFormat):
            return None
        schema = (wanted.json_schema.schema_ if isinstance(wanted, JsonSchema) else None) or JSON_OBJECT
        return vocabulary.json(schema) if toolbox is None else vocabulary.one_of([("", schema, ""), *toolbox.forms])
    except SettingsError as error:
        raise ApiError(400, str(error), param=param) from error
