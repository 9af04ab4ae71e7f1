"""Appending: a new version of a dataset that has the files of the one before and more rows.

The manifest refers to those files where they lie; nothing is copied, and no committed byte changes.
"""

import re
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import pyarrow as pa

from synthmill.catalog.dataset import part_entries
from synthmill.catalog.manifest import FileEntry, Parent, decode_schema
from synthmill.catalog.store import Store, Version
from synthmill.errors import NotFoundError, StorageError, UserError
from synthmill.generation.shards import ShardPlan

if TYPE_CHECKING:
    from synthmill.runtime.output import Output

FIELD = "--append"
_PART = re.compile(r"part-(\d+)\.parquet$")
CONDITIONS = ("where", "latent", "balance")


@dataclass(frozen=True)
class Base:
    """The version that rows are appended to."""

    version: Version

    @classmethod
    def of(cls, store: Store, dataset: str) -> "Base":
        """The newest version of a dataset.

        Raises:
            UserError: there is none.
        """
        try:
            return cls(store.resolve("datasets", dataset, field=FIELD))
        except NotFoundError as fault:
            line = str(fault).removeprefix(f"{FIELD}: ")
            raise NotFoundError(
                f"{line}; leave --append out to make the first version", field=FIELD
            ) from None

    @property
    def plans(self) -> list[dict[str, Any]]:
        """`{"model": content digest, "plan": ...}` of every job whose rows it has."""
        manifest = self.version.manifest
        if "plans" in manifest.details:
            return list(manifest.details["plans"])
        digest = next((parent.digest for parent in manifest.parents if parent.kind == "model"), "")
        return [{"model": digest, "plan": manifest.details["plan"]}] if "plan" in manifest.details else []

    @property
    def files(self) -> tuple[FileEntry, ...]:
        """Its parts, as the new version's manifest refers to them."""
        number = self.version.number
        parts = part_entries(self.version)
        return tuple(entry.model_copy(update={"version": entry.version or number}) for entry in parts)

    @property
    def first_part(self) -> int:
        """The number of the first part that is free."""
        numbers = [int(match[1]) for entry in self.files if (match := _PART.search(entry.path))]
        return max(numbers, default=-1) + 1

    @property
    def first_id(self) -> int:
        """The number that identifiers go on from."""
        plans = [ShardPlan.model_validate(each["plan"]) for each in self.plans]
        return max((plan.first_id + plan.rows for plan in plans), default=0)

    @property
    def parent(self) -> Parent:
        """What keeps it from being deleted while the new version lives."""
        return Parent(kind="dataset", ref=self.version.ref, digest=self.version.manifest.content_digest)

    def check(self, plan: ShardPlan, digest: str, schema: pa.Schema, output: "Output") -> None:
        """Refuse rows that do not go with those that are there.

        Raises:
            UserError: other columns or folders, real rows among them, or rows that it has already.
        """
        manifest, ref = self.version.manifest, self.version.ref
        details = manifest.details
        if not self.plans or details.get("mix_real"):
            what = "holds real rows too" if self.plans else "does not say how it was generated"
            raise UserError(f"{ref} {what}; publish a dataset of another name", field=FIELD)
        if manifest.arrow_schema is None or not decode_schema(manifest.arrow_schema).equals(schema):
            raise UserError(
                f"{ref} has other columns or types; publish a dataset of another name", field=FIELD
            )
        folders = tuple(details.get("partition_by", ()))
        if folders != output.partition_by:
            fix = f"give --partition-by {','.join(folders)}" if folders else "leave --partition-by out"
            raise UserError(f"{ref} lies in other folders; {fix}", field="--partition-by")
        if any((each["model"], each["plan"]["seed"]) == (digest, plan.seed) for each in self.plans):
            # The same blocks would be drawn again: whole rows twice.
            raise UserError(
                f"{ref} has rows of this model and seed already; give another seed", field="--seed"
            )

    def details(self, plan: ShardPlan, digest: str) -> dict[str, Any]:
        """What the new manifest states about the jobs whose rows it has."""
        dumped = plan.model_dump(mode="json")
        plans = [*self.plans, {"model": digest, "plan": dumped}]
        # Evaluation compares with rows of the same condition: there is one only if all jobs had the same.
        same = all(
            each["plan"].get(name) == plans[0]["plan"].get(name) for each in plans for name in CONDITIONS
        )
        return {"plans": plans, "appended_to": self.version.ref, **({"plan": dumped} if same else {})}

    def check_newest(self, store: Store) -> None:
        """StorageError if another version was published meanwhile, whose rows the new one would lack."""
        newest = max(store.versions("datasets", self.version.name), default=self.version.number)
        if newest != self.version.number:
            raise StorageError(
                f"{self.version.name}@{newest} was published while rows were appended to {self.version.ref};"
                " run the command again"
            )
