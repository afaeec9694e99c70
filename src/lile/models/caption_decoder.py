"""VSRN's second task: say the caption, word by word, from what the image's tokens became.

Shapes: B pairs, L image tokens, E their width, W words of the longest caption with its markers, V words of the
vocabulary, e width of a word's vector, h hidden width, n captions that go on, T words predicted in the batch.

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
        words_BW, asked_BW = words_BW[:, : self.longest + 1], words_keep_BW[:, 1 : self.longest + 1]
        if not bool(asked_BW.any()):
            return context_BLE.new_zeros(())
        steps_B = (asked_BW * torch.arange(1, asked_BW.shape[1] + 1, device=asked_BW.device)).amax(dim=1)
        # The longest caption first: the others leave from the end.
        steps_B, order_B = steps_B.sort(descending=True, stable=True)
        words_BW, asked_BW = words_BW[order_B], asked_BW[order_B]
        states = self.states(context_BLE[order_B], keep_BL[order_B], words_BW, steps_B)
        # The state after word w predicts word w + 1.
        targets_T = torch.cat([words_BW[: len(state), place + 1] for place, state in enumerate(states)])
        asked_T = torch.cat([asked_BW[: len(state), place] for place, state in enumerate(states)])
        logits_TV = self.predict(torch.cat(states)[asked_T])
        return cross_entropy(logits_TV, targets_T[asked_T], reduction="sum") / len(words_BW)

    def states(self, context_BLE: Tensor, keep_BL: Tensor, words_BW: Tensor, steps_B: Tensor) -> list[Tensor]:
        """Return the decoder's states [n, h] after each word that it is given (teacher forcing).

        Args:
            context_BLE: the images' tokens.
            keep_BL: True at real tokens.
            words_BW: the words to read.
            steps_B: how many of them are read of each caption, falling; step w has the n captions with more than w.
        """
        context_BLE = context_BLE.masked_fill(~keep_BL[..., None], 0.0)
        state_nh = self.start(mean_of(context_BLE, keep_BL)).tanh()
        keys_BLh, vectors_BWe, states = self.keys(context_BLE), self.words(words_BW), []
        places = torch.arange(words_BW.shape[1], device=steps_B.device)
        for place, count in enumerate((steps_B > places[:, None]).sum(dim=1).tolist()):
            if count == 0:
                break
            state_nh = state_nh[:count]
            logits_nL = self.attend((keys_BLh[:count] + self.query(state_nh)[:, None]).tanh())[..., 0]
            attention_nL = logits_nL.masked_fill(~keep_BL[:count], -torch.inf).softmax(dim=1)
            attended_nE = (attention_nL[:, None] @ context_BLE[:count])[:, 0]
            state_nh = self.step(torch.cat([vectors_BWe[:count, place], attended_nE], dim=-1), state_nh)
            states.append(state_nh)
        return states
