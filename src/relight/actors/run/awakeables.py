"""The tokens of awakeables: they can't be guessed, and one that was never made is known for it. Pure."""

from __future__ import annotations

from hashlib import blake2b

__all__ = ("awakeable_token", "seed_after", "was_made")


def awakeable_token(run: str, number: int, seed: str) -> str:
    """Return the token of a run's awakeable: it names the run, and the rest follows from the history's seed."""
    secret = blake2b(f"awakeable {number}".encode(), key=seed.encode()[:64], digest_size=16)
    return f"{run}~{number}~{secret.hexdigest()}"


def seed_after(seed: str, generation: int) -> str:
    """Return the seed of a history that follows one with `seed`: another one, so that no token is that of before."""
    return blake2b(f"{seed} {generation}".encode(), digest_size=16).hexdigest()


def was_made(token: str, *, seed: str, generations: int) -> bool:
    """Whether a run made this token.

    Args:
        token: `<run>~<number>~<secret>`.
        seed: Of the run's first history.
        generations: How many histories it has had.
    """
    run, number, _ = token.rsplit("~", 2)
    if not number.isdecimal():
        return False
    for generation in range(2, generations + 2):
        if token == awakeable_token(run, int(number), seed):
            return True
        seed = seed_after(seed, generation)
    return False
