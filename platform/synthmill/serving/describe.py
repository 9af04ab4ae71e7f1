"""What the API says about a model: where it came from, its columns, the conditions it takes, its quality,
its card."""

from typing import Any

from synthmill.catalog.store import Version
from synthmill.serving.models import Served

OPERATORS = ("=", "!=", "<", "<=", ">", ">=", "in")
MOST_LEVELS = 200


def summary(name: str, version: Version) -> dict[str, Any]:
    """One line of the list of models."""
    return {
        "id": name,
        "object": "model",
        "created": version.manifest.created,
        "owned_by": "synthmill",
        "ref": version.ref,
        "digest": version.manifest.content_digest,
        "verdict": verdict(version),
    }


def verdict(version: Version) -> str:
    """What quality gates said of this version; "not evaluated" when none were run."""
    return str((version.manifest.gate or {}).get("verdict", "not evaluated"))


def details(served: Served, card: str, *, limits: dict[str, int]) -> dict[str, Any]:
    """Everything about one model version."""
    generator = served.generator
    config: dict[str, Any] = dict(generator.config)
    return {
        **summary(served.name, served.version),
        "model": config.get("model"),
        "modality": served.media.modality,
        "rows_trained_on": generator.codec.layout.rows,
        "quality": (config.get("training") or {}).get("quality"),
        "target": ((config.get("recipe") or {}).get("data") or {}).get("target"),
        "size": served.media.size(served),
        "schema": columns(served),
        "conditions": {
            "operators": list(OPERATORS),
            "native": generator.model.conditions,
            "form": "column<operator>value, or column in {value, value}; several are joined by AND",
        },
        "profile": config.get("profile"),
        "limits": limits,
        "card": card,
        **served.media.details(served),
    }


def columns(served: Served) -> list[dict[str, Any]]:
    """Name, type and possible values of every column."""
    described = []
    for field in served.generator.schema:
        column: dict[str, Any] = {"name": field.name, "type": str(field.type)}
        levels = served.generator.codec.levels(field.name)
        if levels is not None:
            # A page and a client can offer some hundreds; the total says that there are more.
            column["levels"] = levels[:MOST_LEVELS]
            column["levels_total"] = len(levels)
        known = served.generator.codec.column_info(field.name)
        if known is not None:
            column |= {
                "kind": known.kind,
                "minimum": known.minimum,
                "maximum": known.maximum,
                "nullable": known.missing_rows > 0,
            }
        described.append(column)
    return described
