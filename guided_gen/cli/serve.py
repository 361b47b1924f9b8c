"""`guided-gen serve`: the OpenAI API and a page over the search."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from ..engine.errors import GuidedGenError, SettingsError
from . import completion
from .options import (
    AUTO,
    CONTEXT,
    check_names,
    chosen_scorer,
    chosen_value,
    endpoint,
    reader_option,
    scorer_option,
    value_options,
    vllm_settings,
    whole_answer_options,
)

if TYPE_CHECKING:
    from ..server.limits import ServerLimits


@click.command(context_settings=CONTEXT)
@click.option("--host", default="127.0.0.1", help="Address to listen at; 0.0.0.0 is every network.")
@click.option("--port", default=8000)
@whole_answer_options
@value_options
@reader_option
@scorer_option
@click.option("--api-key-file", type=click.Path(path_type=Path), default=None, help="Keys that clients must present, one a line.")
@click.option(
    "--policy", default="best-of-n", shell_complete=completion.policies, help="Of searches that name none; see guided-gen solve."
)
@click.option("--n", default=4, help="Candidates of searches that say no number.")
@click.option(
    "--max-new-tokens", type=int, default=None, help="Longest answer of searches that say no number (--most-new-tokens)."
)
@click.option("--searches", default=8, help="Most searches decoded at once.")
@click.option("--waiting", default=32, help="Most that wait; more are told to come again (429).")
@click.option("--most-candidates", default=64, help="Most candidates of one search.")
@click.option("--most-new-tokens", default=2048, help="Longest answer that may be asked for.")
@click.option("--most-prompt-tokens", default=8192, help="Longest prompt.")
@click.option("--most-body-bytes", default=1 << 20, help="Largest request.")
@click.option("--most-seconds", default=600.0, help="Longest search; it then ends with what there is.")
@click.option(
    "--access-log", type=click.File("a"), default=None, help="Note each request here, as JSON lines; - is standard output."
)
@click.option("--prefix-bytes", type=click.IntRange(0), default=256 << 20, help="Memory for prompts that are kept between calls.")
def command(**options: Any) -> None:
    """Serve the search at /v1 as OpenAI's API, scores at /v1/score, metrics at /metrics, and a page at /."""
    try:
        import fastapi  # noqa: F401
        import uvicorn  # noqa: F401
    except ImportError:
        raise GuidedGenError("the server needs the extra serve: pip install '.[serve]' in the checkout") from None
    from ..engine.scorers import scorer_named
    from ..engine.search import SearchSettings
    from ..generator import GuidedGenerator
    from ..server.access import LOOPBACK, read_api_keys
    from ..server.app import create_app
    from ..server.http_server import bound_socket, http_server
    from ..server.limits import ServerLimits
    from ..server.request_log import AccessLog
    from ..valuemodel.early_stop import chosen_policy

    check_names(options)
    if options["max_new_tokens"] is None:
        options["max_new_tokens"] = options["most_new_tokens"]
    server = endpoint(options, options["most_new_tokens"])
    limits = ServerLimits(
        searches=options["searches"],
        waiting=options["waiting"],
        candidates=options["most_candidates"],
        new_tokens=options["most_new_tokens"],
        prompt_tokens=options["most_prompt_tokens"],
        body_bytes=options["most_body_bytes"],
        seconds=options["most_seconds"],
    )
    _check_beside(options, limits)
    listening = bound_socket(options["host"], options["port"])
    keys = read_api_keys(options["api_key_file"]) if options["api_key_file"] else frozenset()
    value = chosen_value(options)
    scorer = chosen_scorer(options, value)
    settings = SearchSettings(
        n=options["n"],
        max_new_tokens=options["max_new_tokens"],
        policy=chosen_policy(options["policy"], [scorer], value, SearchSettings.check_every),
        scorer=None if options["scorer"] is None and (options["value"] == AUTO or options["reader"]) else scorer_named(scorer),
    )
    click.echo(f"Loading {options['model']}", err=True)
    generator = GuidedGenerator.from_pretrained(
        options["model"],
        precision=options["precision"],
        value=value,
        value_base=options["value_base"],
        backend=options["backend"],
        vllm=vllm_settings(options),
        endpoint=server,
        reader=options["reader"],
    )
    generator.loaded.language_model.hold_prefixes(options["prefix_bytes"])
    local = options["host"] in ("127.0.0.1", "localhost", "::1")
    if not local and not keys:
        click.echo(f"Listening at {options['host']} without API keys: whoever reaches this machine may use it", err=True)
    access = None if options["access_log"] is None else AccessLog(options["access_log"])
    app = create_app(generator, settings, limits, keys, LOOPBACK if local else frozenset(), access)
    click.echo(f"Serving at http://{options['host']}:{listening.getsockname()[1]}", err=True)
    http_server(app, limits).run([listening])


def _check_beside(options: dict[str, Any], limits: ServerLimits) -> None:
    """Raise SettingsError where a default is beyond what may be asked for."""
    for name, most in (("n", limits.candidates), ("max_new_tokens", limits.new_tokens)):
        if options[name] > most:
            limit = {"n": "--most-candidates", "max_new_tokens": "--most-new-tokens"}[name]
            raise SettingsError(f"--{name.replace('_', '-')} {options[name]} is above {limit} {most}")
