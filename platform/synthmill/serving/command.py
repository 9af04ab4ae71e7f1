"""`synthmill serve` and `synthmill keys`; added to the command line by `register`."""

from datetime import UTC, datetime
from typing import TYPE_CHECKING, Annotated, Any

import typer

from synthmill.errors import RecipeError, UserError
from synthmill.runtime.options import DEFAULT_STORE, ResultFile, StoreOption, Verb

if TYPE_CHECKING:
    from synthmill.serving.auth import KeyFile

MAX_DAYS = 36_500
"""A hundred years; the calendar of dates ends some thousand years later."""
KeysOption = Annotated[
    str | None,
    typer.Option("--keys", help="URI of the keys document; default: store/serve-keys.json."),
]
SetOption = Annotated[
    list[str] | None,
    typer.Option("--set", help="key=value of the serving settings (docs/serving.md); may be given again."),
]


def register(app: typer.Typer, verb: Verb) -> None:
    """Add the commands; `verb` turns a function that returns its result into one that prints it and returns
    an exit code."""
    keys = typer.Typer(no_args_is_help=True, help="API keys of the server.")
    app.add_typer(keys, name="keys")
    app.command()(verb(serve))
    keys.command("create")(verb(create))
    keys.command("list")(verb(list_keys))
    keys.command("revoke")(verb(revoke))


def serve(
    models: Annotated[
        str, typer.Option(help="Comma-separated: NAME serves its newest version, NAME@N that one for ever.")
    ],
    store: StoreOption = DEFAULT_STORE,
    host: Annotated[
        str, typer.Option(help="Address to listen on; 0.0.0.0 for every interface.")
    ] = "127.0.0.1",
    port: Annotated[int, typer.Option(min=1, max=65535)] = 8000,
    keys: KeysOption = None,
    insecure_local: Annotated[
        bool, typer.Option("--insecure-local", help="No keys, on the loopback interface only.")
    ] = False,
    min_replicas: Annotated[int, typer.Option(min=1)] = 1,
    max_replicas: Annotated[int | None, typer.Option(min=1, help="Default: one for each CPU.")] = None,
    set_: SetOption = None,
    result_file: ResultFile = None,
) -> dict[str, Any]:
    """Serve models over HTTP until interrupted: API, page and metrics on one port."""
    from synthmill.serving.server import run

    flags: dict[str, Any] = {"store": store, "models": models, "keys": keys, "insecure_local": insecure_local}
    settings = _with_settings(flags, set_ or [])
    settings["scaling"] = _scaling(settings.get("scaling", {}), min_replicas, max_replicas)
    return run(settings, host=host, port=port)


def create(
    name: Annotated[str, typer.Argument(help="Whose key it is; for people.")],
    store: StoreOption = DEFAULT_STORE,
    keys: KeysOption = None,
    scopes: Annotated[str, typer.Option(help="Comma-separated: generate, jobs, metrics.")] = "generate",
    models: Annotated[
        str | None, typer.Option(help="Comma-separated names it may use; default: all that are served.")
    ] = None,
    days: Annotated[
        float | None, typer.Option(help=f"Days until it expires, at most {MAX_DAYS}; default: never.")
    ] = None,
    requests_per_minute: Annotated[int | None, typer.Option(min=1)] = None,
    rows_per_minute: Annotated[int | None, typer.Option(min=1)] = None,
    rows_per_day: Annotated[int | None, typer.Option(min=1)] = None,
    set_: SetOption = None,
    result_file: ResultFile = None,
) -> dict[str, Any]:
    """Make a key. It is shown once; only a salted hash of it is stored."""
    from synthmill.serving.auth import create_key, parse_names, parse_scopes
    from synthmill.serving.quota import Quota

    # The closing line has the key in it, and a result file may be read by anybody with access to the store.
    if result_file:
        raise UserError("not with this command: the key would be written to a file", field="--result-file")
    if days is not None and not 0 <= days <= MAX_DAYS:
        raise UserError(
            f"must be from 0 to {MAX_DAYS}, got {days:.10g}; without it the key never expires", field="--days"
        )
    quota = Quota(
        requests_per_minute=requests_per_minute, rows_per_minute=rows_per_minute, rows_per_day=rows_per_day
    )
    names = parse_names(models) if models is not None else None
    file = _key_file(store, keys, set_ or [])
    token, key = create_key(
        file,
        name=name,
        scopes=parse_scopes(scopes),
        models=names,
        days=days,
        quota=quota,
        now=datetime.now(UTC),
    )
    return {
        "key": token,
        "id": key.id,
        "scopes": list(key.scopes),
        "expires": key.expires.isoformat() if key.expires else None,
        "keys": file.uri,
    }


def list_keys(
    store: StoreOption = DEFAULT_STORE,
    keys: KeysOption = None,
    set_: SetOption = None,
    result_file: ResultFile = None,
) -> dict[str, Any]:
    """Keys, without their secrets."""
    file = _key_file(store, keys, set_ or [])
    shown = [
        key.model_dump(mode="json", exclude={"salt", "hash"}, exclude_none=True) for key in file.read().keys
    ]
    return {"keys": shown, "uri": file.uri}


def revoke(
    key: Annotated[str, typer.Argument(help="The id: the part of a key between the two underscores.")],
    store: StoreOption = DEFAULT_STORE,
    keys: KeysOption = None,
    set_: SetOption = None,
    result_file: ResultFile = None,
) -> dict[str, Any]:
    """Take a key away; servers refuse it within 10 s."""
    from synthmill.serving.auth import revoke_key

    return {"revoked": revoke_key(_key_file(store, keys, set_ or []), key).id}


def _scaling(settings: Any, min_replicas: int, max_replicas: int | None) -> Any:
    """The settings, with the flags' replicas; what is no mapping stays for the check of all settings, which
    names it."""
    if not isinstance(settings, dict):
        return settings
    most = {"max_replicas": max_replicas} if max_replicas is not None else {}
    return {"min_replicas": min_replicas, **settings, **most}


def _key_file(store: str, keys: str | None, overrides: list[str]) -> "KeyFile":
    from synthmill.config import StorageConfig, parse_model
    from synthmill.serving.auth import KeyFile
    from synthmill.serving.config import ServeArgs

    settings = parse_model(
        ServeArgs, {**_with_settings({}, overrides), "store": store, "keys": keys, "models": "any"}
    )
    return KeyFile(*settings.keys_location, parse_model(StorageConfig, settings.storage.model_dump()))


def _with_settings(base: dict[str, Any], overrides: list[str]) -> dict[str, Any]:
    """`limits.max_rows=1000` becomes {"limits": {"max_rows": 1000}}."""
    from synthmill.config import parse_value

    settings = dict(base)
    for override in overrides:
        path, equals, text = override.partition("=")
        *groups, name = path.split(".")
        if not equals or not name or len(groups) > 1:
            raise RecipeError(f"expected key=value, got {override!r}", field="--set")
        node = settings.setdefault(groups[0], {}) if groups else settings
        if not isinstance(node, dict):
            raise RecipeError(f"{groups[0]!r} is a value, not a group of keys", field=f"--set {path}")
        node[name] = parse_value(text)
    return settings
