"""A GRU over an item's tokens in their order, as VSE++, SCAN, IMRAM, PVSE and VSRN have it.

Shapes: B items, L tokens, E width of what comes in, d of what goes out.

Source: SCAN's and IMRAM's text side, where the two directions of a word are averaged; VSE++'s and VSRN's, where the
final state stands for the item. Deviation: padding is left out of the sequence, so that it changes no result.
"""

from __future__ import annotations

from torch import Tensor, nn
from torch.nn.utils.rnn import pack_padded_sequence, pad_packed_sequence

from lile.matching.items import kept_first


class Recurrent(nn.Module):
    """A GRU of one layer over the kept tokens.

    Args:
        token_width: E.
        width: d, of each direction's state.
        both: the mean of one GRU from the start and one from the end, instead of one from the start.
    """

    def __init__(self, token_width: int, width: int, both: bool = True) -> None:
        super().__init__()
        self.width = width
        self.gru = nn.GRU(token_width, width, batch_first=True, bidirectional=both)

    def forward(self, tokens_BLE: Tensor, keep_BL: Tensor) -> tuple[Tensor, Tensor]:
        """Return a state per token [B, L, d], zero at padding, and the final state [B, d].

        Raises:
            ValueError: an item keeps no token.
        """
        lengths_B = keep_BL.sum(dim=1)
        if not bool(lengths_B.all()):
            raise ValueError("an item has no token to read: its keep mask is all False")
        places_BL = kept_first(keep_BL)
        tokens_BLE = tokens_BLE.take_along_dim(places_BL[..., None], dim=1)
        packed = pack_padded_sequence(tokens_BLE, lengths_B.cpu(), batch_first=True, enforce_sorted=False)
        states, final_DBd = self.gru(packed)
        states_BLD, _ = pad_packed_sequence(states, batch_first=True, total_length=keep_BL.shape[1])
        states_BLd = states_BLD.unflatten(-1, (-1, self.width)).mean(dim=2)
        return states_BLd.take_along_dim(places_BL.argsort(dim=1)[..., None], dim=1), final_DBd.mean(dim=0)
