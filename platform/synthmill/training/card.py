"""The model card: what a person should know before using a model, in Markdown with Hugging Face front
matter."""

from typing import Any

from synthmill.config import Recipe
from synthmill.models.base import model_class


def model_card(recipe: Recipe, config: dict[str, Any]) -> str:
    """Intended use, data, training, quality and limits, from the recipe and the artifact's config alone: no
    data values but those of many rows that notes name."""
    cls = model_class(recipe.model.name)
    split, training = config["split"], config["training"]
    counts = ", ".join(f"{rows:,} {name}" for name, rows in split["counts"].items())
    quality = training.get("quality") or {}
    figures = (
        "\n".join(f"- {key}: {value:.4f}" for key, value in quality.items() if isinstance(value, float))
        or "- not measured"
    )
    warning = (
        "\n**This artifact contains training rows.** It is a control for privacy checks; do not share it.\n"
        if cls.copies_training_rows
        else ""
    )
    chosen = f"\nChosen by {config['choice']}." if "choice" in config else ""
    ended = f"- {training['ended']}\n" if training.get("ended") else ""
    notes = [_one_line(note) for note in config.get("notes", ())]
    decided = "\n".join(f"- {note}" for note in notes) or "- nothing that needed a note"
    if recipe.data.rare_target == "keep":
        # Whoever shares a class with few others can be recognised by it.
        decided = f"- **classes of the target that few people share are kept** (`data.rare_target: keep`)\n{decided}"
    return f"""---
library_name: synthmill
tags: [synthetic-data, {", ".join(cls.modalities)}, {recipe.model.name}]
---
# {recipe.name}
{warning}
A `{recipe.model.name}` generator ({" ".join(cls.reference.split())}).{chosen}

## Data
- source SHA-256: `{config["source"]["sha256"]}`, {config["source"]["rows"]:,} rows
- split before anything was fitted: {counts}
- target: {recipe.data.target or "none"}

## What was decided about columns
{decided}

## Training
- {training["steps"]:,} steps in {training["seconds"]:.1f} s, {training["workers"]} worker(s), {training["threads"]} thread(s) each
{ended}- recipe fingerprint: `{config["recipe_fingerprint"]}`

## Quality on the validation split (fidelity, not privacy)
{figures}

## Intended use and limits
Rows it generates are labelled as AI-generated. They resemble the training rows in distribution; that is no guarantee of privacy.
Evaluate a dataset with `jobs/evaluate.py` before it is shared.
"""


def _one_line(note: str) -> str:
    """A note without what would end its line in Markdown."""
    return " ".join(note.split())
