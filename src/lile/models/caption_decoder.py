"""VSRN's second task: say the caption, word by word, from what the image's tokens became.

Shapes: B pairs, L image tokens, E their width, W words of the longest caption with its markers, V words of the
vocabulary, e width of a word's vector, h hidden width, T words predicted in the batch.

Source: Li et al. 2019 and their code, which takes a video captioner's attention decoder: the loss is the sum over a
caption's words of their negative log-likelihood, the mean over captions. Deviations: image tokens are read as they are,
without a second GRU over them, and the decoder's first state is a layer of their mean.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn.functional import cross_entropy

from lile.models.vectors import mean_of
from lile.models.words import WordEmbedding

LONGEST = 60  # words of a caption that are predicted, as in VSRN: a page of text would take a step per word


class CaptionDecoder(nn.Module):
    """A GRU that reads a word and an attended image token at each step, and predicts the next word.

    Args:
        words: V.
        context_width: E.
        word_width: e.
        hidden: h.
        longest: words of a caption that are predicted.
    """

    def __init__(
        self, words: int, context_width: int, word_width: int = 300, hidden: int = 512, longest: int = LONGEST
    ) -> None:
        super().__init__()
        self.longest = longest
        self.words = WordEmbedding(words, word_width)
        self.start = nn.Linear(context_width, hidden)
        self.query = nn.Linear(hidden, hidden)
        self.keys = nn.Linear(context_width, hidden, bias=False)
        self.attend = nn.Linear(hidden, 1, bias=False)
        self.step = nn.GRUCell(word_width + context_width, hidden)
        self.predict = nn.Linear(hidden, words)

    def forward(self, context_BLE: Tensor, keep_BL: Tensor, words_BW: Tensor, words_keep_BW: Tensor) -> Tensor:
        """Return the loss, a scalar: a caption's negative log-likelihood in nats, the mean over captions.

        Args:
            context_BLE: the images' tokens.
            keep_BL: True at real tokens.
            words_BW: int64 word ids of their captions, from ``<start>`` to ``<end>``, padded at the end.
            words_keep_BW: True at words to be predicted; those left out are read all the same.
        """
        words_BW, words_keep_BW = words_BW[:, : self.longest + 1], words_keep_BW[:, : self.longest + 1]
        states_BWh = self.states(context_BLE, keep_BL, words_BW[:, :-1])
        asked_BW = words_keep_BW[:, 1:]  # state w has read words 0 .. w and predicts word w + 1
        logits_TV = self.predict(states_BWh[asked_BW])
        return cross_entropy(logits_TV, words_BW[:, 1:][asked_BW], reduction="sum") / len(words_BW)

    def states(self, context_BLE: Tensor, keep_BL: Tensor, words_BW: Tensor) -> Tensor:
        """Return the decoder's state [B, W, h] after each word that it is given (teacher forcing)."""
        context_BLE = context_BLE.masked_fill(~keep_BL[..., None], 0.0)
        state_Bh = self.start(mean_of(context_BLE, keep_BL)).tanh()
        keys_BLh, states = self.keys(context_BLE), []
        for word_Be in self.words(words_BW).unbind(dim=1):
            logits_BL = self.attend((keys_BLh + self.query(state_Bh)[:, None]).tanh())[..., 0]
            attention_BL = logits_BL.masked_fill(~keep_BL, -torch.inf).softmax(dim=1)
            attended_BE = (attention_BL[:, None] @ context_BLE)[:, 0]
            state_Bh = self.step(torch.cat([word_Be, attended_BE], dim=-1), state_Bh)
            states.append(state_Bh)
        return torch.stack(states, dim=1)
