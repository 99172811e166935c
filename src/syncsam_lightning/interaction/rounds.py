"""The one loop of prompting: prompts, an answer, prompts that correct the answer, and so on."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Protocol

import torch
from torch import Tensor

from syncsam_lightning.prompts import Prompts, Targets


@dataclass(frozen=True, slots=True)
class Round:
    """One turn: what was asked, and the model's answer.

    Args:
        index: number of the round, from 0.
        prompts: what the model was given.
        logits: ``(N, S/4, S/4)`` its answer. Inside the autograd graph where :func:`run_rounds`
            yields it, detached in a policy's history.
    """

    index: int
    prompts: Prompts
    logits: Tensor


class Policy(Protocol):
    """A user, simulated or replayed, who decides what to say next."""

    @property
    def num_rounds(self) -> int:
        """How many rounds the user plays."""

    def next_prompts(self, targets: Targets, history: Sequence[Round]) -> Prompts:
        """Decide the prompts of round ``len(history)``.

        A pure function of its arguments: called again, it says the same.

        Args:
            targets: what the user has in mind.
            history: the rounds so far, with detached logits.
        """


def play_round(
    decode: Callable[[Prompts], Tensor], prompts: Prompts, history: Sequence[Round]
) -> Round:
    """Play the turn that follows ``history``: the one step of simulated and human users alike.

    Args:
        decode: see :func:`run_rounds`.
        prompts: what the user says.
        history: the turns before.
    """
    return Round(len(history), prompts, decode(prompts))


def run_rounds(
    decode: Callable[[Prompts], Tensor], targets: Targets, policy: Policy
) -> Iterator[Round]:
    """Play a policy against a model, round by round.

    A generator: round ``k + 1`` is prompted and decoded only when it is asked for, so that the
    consumer may step an optimiser in between. Gradients reach the model through ``decode`` alone:
    prompts are drawn without a graph, from detached answers.

    Args:
        decode: returns ``(N, S/4, S/4)`` mask logits for prompts, for example a model's ``decode``
            with the features already given.
        targets: the N true masks.
        policy: the user.

    Yields:
        The rounds in order.
    """
    history: list[Round] = []
    for _ in range(policy.num_rounds):
        with torch.no_grad():
            prompts = policy.next_prompts(targets, history)
        turn = play_round(decode, prompts, history)
        yield turn
        history.append(replace(turn, logits=turn.logits.detach()))
