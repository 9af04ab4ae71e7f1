"""The second digit of a high-cardinality column given the first: p(member | z, group), where the spans alone
would give p(member | z).

Groups hold levels of falling frequency, so the first group's members differ far more than the last one's. A
table of logits per (group, member), learned with the rest, is added to the member's own logits.
Legend: B rows, S spans, D one-hot columns, G groups, M members.
"""

import torch
from torch import Tensor, nn

from synthmill.data.layout import MixedLayout
from synthmill.nn.spans import Spans


class Digits(nn.Module):
    """One table per column that takes two digits; without such columns it does nothing."""

    def __init__(self, layout: MixedLayout, spans: Spans) -> None:
        super().__init__()
        members = {span.column: index for index, span in enumerate(layout.discrete) if span.role == "member"}
        groups = {span.column: index for index, span in enumerate(layout.discrete) if span.role == "group"}
        self.pairs = [(groups[column], member) for column, member in members.items() if column in groups]
        """(group span, member span) of each column."""
        self.tables = nn.ParameterList(
            # At zero the digits are independent, as they were without the tables.
            torch.zeros(spans.widths[group], spans.widths[member])
            for group, member in self.pairs
        )
        self._columns = [(spans.columns_of(group), spans.columns_of(member)) for group, member in self.pairs]

    def given_codes(self, logits_BD: Tensor, codes_BS: Tensor) -> Tensor:
        """Logits (B, D) with the members' moved by the rows' own groups."""
        pairs = zip(self.pairs, self.tables, strict=True)
        return self._moved(logits_BD, [table[codes_BS[:, group]] for (group, _), table in pairs])

    def given_soft(self, logits_BD: Tensor, soft_BD: Tensor) -> Tensor:
        """Logits (B, D) with the members' moved by groups that are probabilities."""
        pairs = zip(self._columns, self.tables, strict=True)
        return self._moved(logits_BD, [soft_BD[:, group] @ table for (group, _), table in pairs])

    def sample(self, spans: Spans, logits_BD: Tensor, generator: torch.Generator) -> Tensor:
        """Codes int64 (B, S): all spans from their softmax, then each member again, given its group."""
        codes_BS = spans.sample(logits_BD, generator)
        if self.pairs:
            members = [member for _, member in self.pairs]
            codes_BS[:, members] = spans.sample(self.given_codes(logits_BD, codes_BS), generator)[:, members]
        return codes_BS

    def _moved(self, logits_BD: Tensor, moves: list[Tensor]) -> Tensor:
        if not moves:
            return logits_BD
        logits_BD = logits_BD.clone()  # The caller still needs its own.
        for (_, member), move_BM in zip(self._columns, moves, strict=True):
            logits_BD[:, member] += move_BM
        return logits_BD
